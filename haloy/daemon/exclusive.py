"""One haloyd a data directory.

Two of them would both reconcile, and each would take the other's containers for
leftovers. The lock is the kernel's (C{flock}): it goes with the process, whatever
ends it, so that no stale one ever has to be removed by hand.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from attrs import define, field

from haloy.config.private import make_directory
from haloy.errors import Conflict


@define(eq=False)
class ExclusiveUse:
    """The right to use a data directory; the file says who has it."""

    _file: Path
    _descriptor: int = field(default=-1, init=False)

    async def take(self) -> None:
        """Take it.

        @raise Conflict: another process has it; the text names its number.
        """
        make_directory(self._file.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._file, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            if problem.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            raise Conflict(
                f"another haloyd (process {holder or 'unknown'}) uses "
                f"{self._file.parent}; stop it first, or give this one a directory "
                "of its own with --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    async def give_back(self) -> None:
        """Let another have it; the file stays, an empty lock costs nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
