"""Bytes from one plain socket to another inside the kernel, through a pipe.

Worth it for much at once only; TLS cannot use it. Linux.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
from typing import Final

from haloy.proxy.listener import RESERVE

# A body with less than this to come is copied as usual.
SPLICE_MIN_BYTES: Final = 131072

# As much as anybody may have: each halving costs a fifth more. It is memory of the
# kernel, filled only while a client is slower than its replica.
PIPE_BYTES: Final = 1048576

# What Linux gives beside that. Who has used up its share of all pipes' memory gets two
# pages, and moving a body by those costs more than copying it: 2 to 3 times.
_LEAST_BYTES: Final = 65536
_FLAGS: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_SPARE_LIMIT: Final = 16
_spare: list[Pipe] = []


class Pipe:
    """A pipe with a count of what is inside."""

    __slots__ = ("_read", "_write", "inside")

    def __init__(self) -> None:
        """Open a pipe.

        @raise OSError: no descriptor is left, or no memory of the kernel for pipes.
        """
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.inside = 0
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if max(self._read, self._write) >= soft - RESERVE:
            # The lowest numbers are given first: others need the last ones more.
            self.close()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        try:
            fcntl.fcntl(self._write, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            # Beyond what this user may have: the size that was given may do.
            if fcntl.fcntl(self._write, fcntl.F_GETPIPE_SZ) < _LEAST_BYTES:
                self.close()
                raise

    def fill(self, fileno: int, limit_bytes: int) -> int:
        """Move up to C{limit_bytes} in from a socket.

        0, or that nothing has come, is said of an urgent byte, too: read then.

        @raise BlockingIOError: nothing has come, or the pipe is full.
        @raise OSError: the connection is broken.
        """
        wanted = min(limit_bytes, PIPE_BYTES)
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

    def take(self) -> bytes:
        """Move out what is inside, to have it here."""
        pieces = []
        while self.inside:
            pieces.append(os.read(self._read, self.inside))
            self.inside -= len(pieces[-1])
        return b"".join(pieces)

    def release(self) -> None:
        """Keep the pipe for the next one who needs it if it is empty, else close it."""
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

    @raise OSError: there is none to be had.
    """
    return _spare.pop() if _spare else Pipe()


def any_pipe() -> Pipe | None:
    """As L{take_pipe}; C{None}: there is none to be had."""
    try:
        return take_pipe()
    except OSError:
        return None


def pulled(fileno: int, size_bytes: int) -> Pipe | None:
    """Return a pipe with what has come from a socket, up to C{size_bytes} of it.

    C{None}: nothing has, or no pipe is to be had.

    @raise OSError: the connection is broken.
    """
    pipe = any_pipe()
    if pipe is None:
        return None
    try:
        pipe.fill(fileno, size_bytes)
    except BlockingIOError:
        pass
    finally:
        if not pipe.inside:
            pipe.release()
    return pipe if pipe.inside else None
