"""One direction of a tunnel as long as it is bulky: moved inside the kernel.

Messages are small as a rule, and copying those is the cheaper way. After some large
reads the kernel moves what comes, through a pipe; after some small moves the
direction is copied again. A pipe is held only while it has something inside: a
tunnel that rests holds none, and one that goes through at once shares it with all.
"""

from __future__ import annotations

import errno
from typing import Final, Protocol

from haloy.proxy.splice import PIPE_BYTES, Pipe, any_pipe

# A read of this size is a sign of bulk, and a move of less than that is none.
LARGE_BYTES: Final = 32768

# So many signs change the way, in either direction.
_SIGNS: Final = 4

# Splicing as such is not to be had here; all else is about the connection.
_UNABLE: Final = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP)

# What L{TunnelSplice.move} says when the caller has to read.
COPY: Final = -1


class End(Protocol):
    """What drivers need of either side.

    @ivar unsent: what waits for room; C{None}: all has been taken.
    @ivar congested: more than the high mark waits; C{relieved} comes later.
    @ivar spliceable: the kernel may move bytes from and to C{fileno}.
    @ivar was_reset: a write was told that the connection was reset.
    @ivar bulk: the driver wants to be asked before what comes is read.
    """

    unsent: bytearray | None
    congested: bool
    bulk: bool
    was_reset: bool

    @property
    def spliceable(self) -> bool:
        """See above."""

    def fileno(self) -> int:
        """Return the descriptor's number; only asked of who is spliceable."""

    def send(self, data: bytes) -> None:
        """Send; never calls back."""

    def call_when_writable(self) -> None:
        """Call C{flushed} when the kernel takes bytes again."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Go on reading."""

    def drop(self) -> None:
        """End now."""


class TunnelSplice:
    """The way from C{source} to C{sink}.

    @ivar moving: the kernel moves what comes; the source asks before it reads.
    """

    __slots__ = ("_able", "_pipe", "_signs", "_sink", "_source", "moving")

    def __init__(self, source: End, sink: End) -> None:
        self._source = source
        self._sink = sink
        self._able = source.spliceable and sink.spliceable
        self._pipe: Pipe | None = None
        self._signs = 0
        self.moving = False

    @property
    def waits(self) -> bool:
        """Whether bytes wait in a pipe for the sink."""
        return self._pipe is not None

    def was_large(self) -> None:
        """Take a large read as a sign of bulk."""
        if self._able:
            self._signs += 1
            if self._signs >= _SIGNS:
                self._turn(moving=True)

    def _turn(self, *, moving: bool) -> None:
        self._signs = 0
        self.moving = self._source.bulk = moving

    def move(self) -> int:
        """Move what has come; return how much that was, or L{COPY}.

        The end is left to reading: with an urgent byte (C{MSG_OOB}) next there is
        nothing to move either, and what is behind it would be lost.
        """
        if not self.moving:
            return COPY
        source = self._source
        if self._pipe is not None or self._sink.unsent is not None:
            # First what came before; C{sink_flushed} goes on.
            source.pause()
            return 0
        pipe = any_pipe()
        if pipe is None:
            self._turn(moving=False)
            return COPY
        moved = 0
        try:
            moved = pipe.fill(source.fileno(), PIPE_BYTES)
        except BlockingIOError:
            return COPY
        except OSError as error:
            if error.errno in _UNABLE:
                self._give_up()
                return COPY
            source.drop()
            return 0
        finally:
            if not moved:
                pipe.release()
        if not moved:
            return COPY
        self._pipe = pipe
        self.drain()
        self._judge(moved)
        return moved

    def _judge(self, moved: int) -> None:
        if moved >= LARGE_BYTES:
            self._signs = 0
        elif self.moving:
            self._signs += 1
            if self._signs >= _SIGNS:
                self._turn(moving=False)

    def _give_up(self) -> None:
        self._able = False
        self._turn(moving=False)

    def drain(self) -> int:
        """Let the sink have what waits in the pipe; return how much it took."""
        pipe = self._pipe
        if pipe is None:
            return 0
        source, sink = self._source, self._sink
        before = pipe.inside
        try:
            taken = pipe.drain(sink.fileno())
        except OSError as error:
            # Whether splicing fails or the connection shows when it is sent.
            self._give_up()
            sink.was_reset |= isinstance(error, ConnectionResetError)
            sink.send(self.take())
            if not sink.congested:
                source.resume()
            return before
        if pipe.inside:
            source.pause()
            sink.call_when_writable()
        else:
            self._pipe = None
            pipe.release()
            source.resume()
        return taken

    def close(self) -> None:
        """Let the pipe go, with what waits in it."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.release()

    def take(self) -> bytes:
        """Return what waits, and let the pipe go: nobody is to move it any more."""
        pipe, self._pipe = self._pipe, None
        if pipe is None:
            return b""
        data = pipe.take()
        pipe.release()
        return data
