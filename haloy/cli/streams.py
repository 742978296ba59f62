"""Our standard streams on the reactor: read and written without ever waiting.

A descriptor is not made non-blocking, because it is shared with other programs of the
terminal. It is read and written when the reactor says that it is ready, and never more
at once than a pipe that is ready takes.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections import deque
from collections.abc import Coroutine
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from haloy.errors import HaloyError

READ_BYTES = 16 * 1024
#: More output than this makes the command wait.
KEPT_BYTES = 1 << 20
READER_LOOK_S = 0.5

T = TypeVar("T")


async def while_read(reactor: Any, working: Coroutine[Any, Any, T]) -> T:
    """Return what C{working} returns, which prints now and then.

    @raise BrokenPipeError: who reads our output has left. Else that would be seen when
        there is something to print, and a quiet app's C{haloy logs | head} waits.
    """
    if not hasattr(select, "poll"):  # Windows
        return await working
    running = Deferred.fromCoroutine(working)
    left: list[bool] = []
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)

    def look() -> None:
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            left.append(True)
            running.cancel()

    looking = LoopingCall(look)
    looking.clock = reactor
    looking.start(READER_LOOK_S)
    try:
        result = await running
    except (CancelledError, HaloyError):  # a cancelled connect has words of its own
        if not left:
            raise
    else:
        if not left:
            return result
    finally:
        looking.stop()
    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


@implementer(IReadDescriptor)
@define(eq=False)
class Inlet:
    """Our input on its way to a command; read only when there is room."""

    _reactor: Any
    _session: Any
    _ended: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin when the command runs."""
        self._session.started.addCallback(lambda _: self._next())

    def stop(self) -> None:
        """Read no more."""
        self._ended = True
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Return what is read."""
        return sys.stdin.fileno()

    def logPrefix(self) -> str:
        """Name it in the log."""
        return "input"

    def doRead(self) -> None:
        """Take what is there."""
        self._reactor.removeReader(self)
        if self._ended:
            return
        try:
            data = os.read(self.fileno(), READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._end()
            return
        sending = Deferred.fromCoroutine(self._session.write(data))
        sending.addCallbacks(lambda _: self._next(), lambda _: None)

    def connectionLost(self, reason: object) -> None:
        """Tell the end of a pipe that is empty and written by nobody any more."""
        self._reactor.removeReader(self)
        self._end()

    def _next(self) -> None:
        if not self._ended:
            self._reactor.addReader(self)

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._session.end_input()


@define(eq=False)
class Outlet:
    """What a command writes, on its way to our standard output and error.

    @ivar source: waits while too much is kept here.
    """

    _reactor: Any
    source: Any = None
    _streams: dict[str, _Stream] = field(init=False)
    _holds: bool = field(default=False, init=False)
    _problem: OSError | None = field(default=None, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Know both streams."""
        sys.stdout.flush()
        self._streams = {
            name: _Stream(self._reactor, stream.fileno(), self._moved, self._broke)
            for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr))
        }

    def take(self, stream: str, data: bytes) -> None:
        """Keep C{data} until it can be written."""
        self._streams[stream].write(data)
        if self._kept() > KEPT_BYTES and not self._holds and self.source is not None:
            self._holds = True
            self.source.hold()

    async def written(self) -> None:
        """Return when all is written. @raise OSError: it cannot be."""
        if self._kept():
            self._waiting = Deferred()
            await self._waiting
        self.check()

    def check(self) -> None:
        """@raise OSError: something could not be written."""
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """Write no more."""
        for stream in self._streams.values():
            stream.stop()

    def _kept(self) -> int:
        return sum(stream.kept_bytes for stream in self._streams.values())

    def _moved(self) -> None:
        if self._holds and self._kept() <= KEPT_BYTES // 2:
            self._holds = False
            self.source.go_on()
        if not self._kept():
            self._wake()

    def _broke(self, problem: OSError) -> None:
        self._problem = problem
        self.stop()
        if self.source is not None:
            self.source.close()
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)


@implementer(IWriteDescriptor)
@define(eq=False)
class _Stream:
    """One descriptor that is written to."""

    _reactor: Any
    _descriptor: int
    _moved: Any
    _broke: Any
    kept_bytes: int = field(default=0, init=False)
    _pieces: deque[memoryview] = field(factory=deque, init=False)
    _stopped: bool = field(default=False, init=False)

    def fileno(self) -> int:
        """Return what is written to."""
        return self._descriptor

    def logPrefix(self) -> str:
        """Name it in the log."""
        return "output"

    def write(self, data: bytes) -> None:
        """Keep C{data} and write it when there is room."""
        if self._stopped or not data:
            return
        self._pieces.append(memoryview(data))
        self.kept_bytes += len(data)
        self._reactor.addWriter(self)

    def stop(self) -> None:
        """Write no more, forget what is kept."""
        self._stopped = True
        self._pieces.clear()
        self.kept_bytes = 0
        self._reactor.removeWriter(self)

    def doWrite(self) -> None:
        """Write as much as a pipe with room takes without waiting (pipe(7))."""
        piece = self._pieces.popleft()
        try:
            count = os.write(self._descriptor, piece[: select.PIPE_BUF])
        except OSError as problem:
            self._broke(problem)
            return
        if count < len(piece):
            self._pieces.appendleft(piece[count:])
        self.kept_bytes -= count
        if not self._pieces:
            self._reactor.removeWriter(self)
        self._moved()

    def connectionLost(self, reason: object) -> None:
        """Tell that nobody reads."""
        self._broke(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))
