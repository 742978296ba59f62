"""Bytes from one plain socket to another inside the kernel, through a pipe.

Worth it for large bodies only; TLS cannot use it. Linux.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final

# A body with less than this to come is copied as usual.
SPLICE_MIN_BYTES: Final = 131072

# As much as anybody may have: each halving costs a fifth more. It is memory of the
# kernel, filled only while a client is slower than its replica.
_PIPE_BYTES: Final = 1048576
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_SPARE_LIMIT: Final = 16
_spare: list[Pipe] = []


class Pipe:
    """A pipe with a count of what is inside."""

    __slots__ = ("_read", "_write", "inside")

    def __init__(self) -> None:
        """Open a pipe.

        @raise OSError: no descriptor is left.
        """
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.inside = 0
        try:
            fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            # Beyond what this user may have: the default of 64 KiB works, too.
            return

    def fill(self, fileno: int, limit_bytes: int) -> int:
        """Move up to C{limit_bytes} in from a socket; 0 at its end.

        @raise BlockingIOError: nothing has come, or the pipe is full.
        @raise OSError: the connection is broken.
        """
        wanted = min(limit_bytes, _PIPE_BYTES)
        moved = os.splice(fileno, self._write, wanted, flags=_FLAGS)
        self.inside += moved
        return moved

    def drain(self, fileno: int) -> int:
        """Move out to a socket what it takes; return how much that was.

        @raise OSError: the connection is broken.
        """
        moved = 0
        try:
            while self.inside:
                out = os.splice(self._read, fileno, self.inside, flags=_FLAGS)
                self.inside -= out
                moved += out
        except BlockingIOError:
            return moved
        return moved

    def release(self) -> None:
        """Keep the pipe for the next body if it is empty, else close it."""
        if not self.inside and len(_spare) < _SPARE_LIMIT:
            _spare.append(self)
        else:
            self.close()

    def close(self) -> None:
        """Close the pipe; what is inside is lost."""
        os.close(self._read)
        os.close(self._write)


def take_pipe() -> Pipe:
    """Return a pipe that is empty.

    @raise OSError: no descriptor is left.
    """
    return _spare.pop() if _spare else Pipe()
