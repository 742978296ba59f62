"""Bodies that go to a file as they arrive: hashed, limited, gone when not taken."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import define, field

from haloy.config.private import make_directory
from haloy.deploy.space import Space
from haloy.errors import InsufficientStorage, TooMany

#: The largest layer or archive (C{spec/api.md} 1.5).
BODY_LIMIT_BYTES = 16 << 30

#: A body without a length is given room in steps of this size.
STEP_BYTES = 64 << 20
UPLOADS_LIMIT = 32


class TooLarge(Exception):
    """A body grew beyond L{BODY_LIMIT_BYTES}."""


@define(eq=False, slots=False)
class Spool:
    """The content of one request, as twisted.web wants it: a file.

    @raise InsufficientStorage: from C{write}: the disk is full, or will be.
    """

    _space: Space
    path: Path
    _file: Any
    _done: Callable[[], None]
    _room: ExitStack = field(factory=ExitStack, init=False)
    _granted: int = field(default=0, init=False)
    size: int = field(default=0, init=False)
    _hash: Any = field(factory=hashlib.sha256, init=False)

    @property
    def digest(self) -> str:
        """The digest of what has arrived, C{sha256:…}."""
        return f"sha256:{self._hash.hexdigest()}"

    def grant(self, size: int) -> None:
        """Promise room for C{size} more bytes. @raise InsufficientStorage: none."""
        self._room.enter_context(self._space.promise(self.path.parent, size))
        self._granted += size

    def write(self, data: bytes) -> None:
        """Take a piece."""
        self.size += len(data)
        if self.size > BODY_LIMIT_BYTES:
            raise TooLarge
        if self.size > self._granted:
            self.grant(STEP_BYTES)
        with _told():
            self._file.write(data)
        self._hash.update(data)

    def finish(self) -> Path:
        """Return the file with all that was written in it.

        @raise InsufficientStorage: the last of it finds no room.
        """
        with _told():
            self._file.flush()
        return self.path

    def tell(self) -> int:
        """Return 0: twisted.web asks whether there is a form to parse."""
        return 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Stay: nobody reads a spool by its request."""
        return 0

    def read(self, size: int = -1) -> bytes:
        """Return nothing, for the same reason."""
        return b""

    def close(self) -> None:
        """Give the room back, and remove the file unless it was moved away."""
        if not self._file.closed:
            with suppress(OSError):  # what is in its buffer goes with the file
                self._file.close()
            self._room.close()
            self.path.unlink(missing_ok=True)
            self._done()


@contextmanager
def _told() -> Iterator[None]:
    """Make a full disk an error with a name."""
    try:
        yield
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        raise InsufficientStorage(
            "insufficient disk space on the server for the upload"
        ) from problem


@define(eq=False)
class Spools:
    """Opens spools in one folder, so many at a time."""

    _space: Space
    _folder: Path
    _open: int = field(default=0, init=False)

    def open(self, length: int | None) -> Spool:
        """Return a spool for a body of C{length} bytes (C{None}: not said).

        @raise InsufficientStorage: there is no room for it.
        @raise TooMany: too many uploads run.
        """
        if self._open >= UPLOADS_LIMIT:
            raise TooMany("too many uploads run at once", retry_after_s=2)
        make_directory(self._folder)
        descriptor, name = tempfile.mkstemp(prefix="haloy-upload-", dir=self._folder)
        spool = Spool(
            self._space, Path(name), os.fdopen(descriptor, "wb"), self._closed
        )
        self._open += 1
        if length:
            try:
                spool.grant(length)
            except InsufficientStorage:
                spool.close()
                raise
        return spool

    def _closed(self) -> None:
        self._open -= 1
