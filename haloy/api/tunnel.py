"""Raw TCP to a container: the connection of one request becomes a tunnel.

C{spec/api.md} 4.21. Both ends may close their half; a tunnel on which nothing
moves for an hour is cut; their number has a limit (A10).
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.engine.address import reachable_address
from haloy.engine.interface import Engine
from haloy.errors import BadGateway, InvalidValue, NotFound, TooMany
from haloy.model.labels import DEFAULT_PORT, PORT

NETWORK = "haloy"
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
        self.early = b""
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

    async def open(self, request: Any, container_id: str, port: str) -> None:
        """Turn the connection of C{request} into a tunnel to a container.

        @param port: as the client says it, C{""} for the container's own.
        @raise InvalidValue: C{port} is none.
        @raise NotFound: the container cannot be reached.
        @raise BadGateway: it refuses the connection.
        """
        if self._open >= TUNNELS_LIMIT:
            raise TooMany("too many tunnels are open", retry_after_s=5)
        container = await self._engine.container(container_id)
        wanted = _port(port or container.labels.get(PORT) or str(DEFAULT_PORT))
        address = reachable_address(container, NETWORK, wanted)
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
        gone: Deferred[None] = Deferred()

        def ended() -> None:
            self._open -= 1
            # twisted.web's part ends here; Klein cancels the wait below.
            request.connectionLost(Failure(ConnectionDone()))

        _join(take_connection(request), inner, ended)
        await gone


def take_connection(request: Any) -> End:
    """Take a request's connection away from twisted.web."""
    channel = request.channel
    transport = channel.transport
    channel.setTimeout(None)
    transport.unregisterProducer()
    outer = End()
    # What the client sent behind its request waits in the channel.
    outer.early = b"".join(channel._dataBuffer)
    channel.transport = None
    transport.protocol = outer
    outer.makeConnection(transport)
    transport.write(_SWITCHING)
    return outer


def _join(outer: End, inner: End, ended: Any) -> None:
    outer.other, inner.other = inner, outer
    outer.on_end = ended
    # Back-pressure: each end stops reading while the other's buffer is full.
    if outer.early:
        inner.peer.write(outer.early)
    outer.peer.registerProducer(inner.peer, True)
    inner.peer.registerProducer(outer.peer, True)
    outer.setTimeout(IDLE_LIMIT_S)
    outer.peer.resumeProducing()


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65535):
        raise InvalidValue(f"{text!r} is not a port (1 to 65535)", field="port")
    return int(text)
