"""Server-sent events on a request: first sign at once, keep-alives, slow readers.

A reader that takes nothing is waited for, never buffered for: what is told waits
in its source. One that takes nothing for a minute loses its connection and may
come back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from haloy.api.gatekeeper import Caller, Gatekeeper
from haloy.api.sse import KEEPALIVE, KEEPALIVE_S
from haloy.errors import TooMany

STALL_LIMIT_S = 60.0
STREAMS_LIMIT = 256

HEADERS = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",
    "X-Buffering": "no",
}

_log = Logger()


def announce(request: Any) -> None:
    """Set the headers of a stream; an error in its place keeps all but the type."""
    for name, value in HEADERS.items():
        request.setHeader(name, value)
    if not request.responseHeaders.hasHeader("Connection"):  # "close" is set already
        request.setHeader("Connection", "keep-alive")


@implementer(IPushProducer)
@define(eq=False)
class EventWriter:
    """Writes events to one request."""

    _request: Any
    _reactor: Any
    _full: bool = field(default=False, init=False)
    _gone: bool = field(default=False, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _stall: Any = field(default=None, init=False)

    async def send(self, data: bytes) -> None:
        """Write C{data} when the reader has room.

        When it is gone this does not return: who writes is about to be cancelled.
        """
        while self._full or self._gone:
            room: Deferred[None] = Deferred()
            self._waiting.append(room)
            await room
        self._request.write(data)

    def keep_alive(self) -> None:
        """Show that we are there, unless data is waiting to be read."""
        if not self._full and not self._gone:
            self._request.write(KEEPALIVE)

    def pauseProducing(self) -> None:
        """Wait: the reader's buffers are full."""
        self._full = True
        if self._stall is None:
            self._stall = self._reactor.callLater(STALL_LIMIT_S, self._cut)

    def resumeProducing(self) -> None:
        """Go on, each of those who wait as long as there is room."""
        self._full = False
        self._forget_stall()
        waiting, self._waiting = self._waiting, []
        for room in waiting:
            if not room.called:
                room.callback(None)

    def stopProducing(self) -> None:
        """Write nothing more: the connection is gone."""
        self._gone = True
        self._forget_stall()

    def _forget_stall(self) -> None:
        stall, self._stall = self._stall, None
        if stall is not None and stall.active():
            stall.cancel()

    def _cut(self) -> None:
        """End the connection; that cancels whoever writes (Klein does it)."""
        _log.info("a reader of a stream took nothing for {s:g} s", s=STALL_LIMIT_S)
        self._request.channel.transport.abortConnection()


@define(eq=False)
class Streams:
    """Sends streams, so many at a time."""

    _reactor: Any
    _gatekeeper: Gatekeeper
    _open: int = field(default=0, init=False)

    async def send(
        self,
        request: Any,
        caller: Caller,
        produce: Callable[[EventWriter], Awaitable[None]],
    ) -> None:
        """Send what C{produce} writes, with keep-alives; return when it is done.

        @param request: L{announce}d before anything could go wrong.

        A reader that leaves cancels C{produce} (Klein does, by the request's end);
        one whose token is revoked loses its connection.

        @raise TooMany: too many streams are open.
        """
        if self._open >= STREAMS_LIMIT:
            raise TooMany("too many streams are open", retry_after_s=5)
        writer = EventWriter(request, self._reactor)
        request.registerProducer(writer, True)
        alive = LoopingCall(writer.keep_alive)
        alive.clock = self._reactor
        alive.start(KEEPALIVE_S)
        forget = self._gatekeeper.lease(caller, request.loseConnection)
        self._open += 1
        try:
            await produce(writer)
        finally:
            self._open -= 1
            forget()
            alive.stop()
            writer.stopProducing()
            if request.channel is not None:  # else the connection is gone
                request.unregisterProducer()
