"""Raw TCP to a container: the connection of one request becomes a tunnel.

C{spec/api.md} 4.21. Both ends may close their half; a tunnel on which nothing
moves for an hour is cut; their number has a limit (A10).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.api.gatekeeper import Lease
from haloy.api.takeover import leave_http, take_connection
from haloy.engine.address import reachable_address
from haloy.engine.interface import Engine
from haloy.errors import BadGateway, InvalidValue, NotFound, TooMany
from haloy.model.labels import DEFAULT_PORT, PORT
from haloy.model.names import DEFAULT_NETWORK

DIAL_LIMIT_S = 10
IDLE_LIMIT_S = 3600
TUNNELS_LIMIT = 64

_SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n"
)


@implementer(IHalfCloseableProtocol)
class End(Protocol, TimeoutMixin):
    """One end of a tunnel: what it reads the other end writes."""

    def __init__(self) -> None:
        """Know no other end yet."""
        self.other: End | None = None
        self.on_end: Any = None
        self._read_closed = False
        self._write_closed = False

    def dataReceived(self, data: bytes) -> None:
        """Pass on, at the pace of the other end."""
        self.resetTimeout()
        if self.other is not None:
            self.other.resetTimeout()
            self.other.peer.write(data)

    def readConnectionLost(self) -> None:
        """Pass the end of our half on."""
        self._read_closed = True
        if self.other is not None:
            self.other.peer.loseWriteConnection()
            self.other._write_closed = True
            if self.other._read_closed:
                self.other.peer.loseConnection()
                self.peer.loseConnection()

    def writeConnectionLost(self) -> None:
        """Go on reading: only our half is closed."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take the other end along."""
        self.setTimeout(None)
        other, self.other = self.other, None
        if other is not None:
            other.other = None
            # With a paused producer it would wait for more before it closes.
            other.peer.unregisterProducer()
            other.peer.loseConnection()
        done, self.on_end = self.on_end, None
        if done is not None:
            done()

    def timeoutConnection(self) -> None:
        """Cut a tunnel on which nothing has moved for too long."""
        self.peer.abortConnection()

    @property
    def peer(self) -> Any:
        """The transport."""
        return self.transport


@define(eq=False)
class Tunnels:
    """Opens tunnels, so many at a time."""

    _engine: Engine
    _reactor: Any
    _open: int = field(default=0, init=False)

    async def connect(self, container_id: str, port: str) -> End:
        """Return a connection to a container, to be given to L{join}.

        @param port: as the client says it, C{""} for the container's own.
        @raise InvalidValue: C{port} is none.
        @raise NotFound: the container cannot be reached.
        @raise BadGateway: it refuses the connection.
        """
        if self._open >= TUNNELS_LIMIT:
            raise TooMany("too many tunnels are open", retry_after_s=5)
        container = await self._engine.container(container_id)
        wanted = _port(port or container.labels.get(PORT) or str(DEFAULT_PORT))
        address = reachable_address(container, DEFAULT_NETWORK, wanted)
        if address is None:
            raise NotFound("the container has no address that can be reached")
        kind = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
        endpoint = kind(self._reactor, address.host, wanted, timeout=DIAL_LIMIT_S)
        try:
            inner: End = await connectProtocol(endpoint, End())
        except (ConnectError, OSError):
            # No address in the text: it is nobody's business outside (A20).
            raise BadGateway(f"the container does not listen on {wanted}") from None
        self._open += 1
        return inner

    async def join(self, request: Any, inner: End, lease: Lease) -> None:
        """Turn the connection of C{request} into the other end of C{inner}.

        @param lease: given how to cut the tunnel, returns how to forget that.
        """
        gone: Deferred[None] = Deferred()
        outer = End()
        early = take_connection(request, outer, _SWITCHING)
        forget = lease(outer.timeoutConnection)
        _join(outer, inner, early, lambda: gone.callback(None))
        try:
            await gone
        finally:
            self._open -= 1
            forget()
        await leave_http(request, self._reactor)


def _join(outer: End, inner: End, early: bytes, ended: Callable[[], None]) -> None:
    outer.other, inner.other = inner, outer
    outer.on_end = ended
    # Back-pressure: each end stops reading while the other's buffer is full.
    if early:
        inner.peer.write(early)
    outer.peer.registerProducer(inner.peer, True)
    inner.peer.registerProducer(outer.peer, True)
    outer.setTimeout(IDLE_LIMIT_S)
    outer.peer.resumeProducing()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise InvalidValue(f"{text!r} is not a port (1 to 65535)", field="port")
    return int(text)
