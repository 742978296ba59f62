"""One request of our own to an app that speaks HTTP/2 without TLS."""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from haloy.model.app import Address
from haloy.proxy.http2 import control, frames
from haloy.proxy.http2.control import Event
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.hpack import Field, encode

_BODY_LIMIT_BYTES: Final = 65536


class NoAnswer(ConnectionAbortedError):
    """The app closed, or what it says is not HTTP/2, or has no end."""


@frozen
class Reply:
    """What came back: the status, the body, and the fields of head and trailers."""

    status: int
    body: bytes
    fields: tuple[Field, ...]


@define(eq=False, slots=False)
class _Asking(Protocol):
    _head: bytes
    _body: bytes
    _now_s: float
    done: Deferred[Reply] = field(factory=Deferred)
    _status: int = field(default=0, init=False)
    _fields: list[Field] = field(factory=list, init=False)
    _got: bytes = field(default=b"", init=False)

    def connectionMade(self) -> None:
        """Ask at once: the server's greeting changes nothing about so little."""
        engine = self._engine = Engine(client=True, now_s=self._now_s)
        stream = engine.open(self._head, end=not self._body)
        if self._body:
            engine.data(stream, self._body, end=True)
        self._flush()

    def _flush(self) -> None:
        transport: Any = self.transport
        transport.write(self._engine.take())

    def dataReceived(self, data: bytes) -> None:
        """Take what the server says."""
        for event in self._engine.receive(data, self._now_s):
            self._take(event)
        self._flush()

    def _take(self, event: Event) -> None:
        kind, stream, what = event
        if kind == control.RESPONSE:
            self._status = int(what[0][1])
            self._fields += what[1:]
        elif kind == control.BODY:
            piece = self._engine.take_body(stream)
            self._engine.credit(stream, len(piece))
            self._got += piece
            if len(self._got) > _BODY_LIMIT_BYTES:
                self._settle(NoAnswer("its answer has no end"))
        elif kind == control.END:
            self._fields += what
            self._settle(Reply(self._status, self._got, tuple(self._fields)))
        elif kind == control.RESET:
            name = "refused" if what == frames.REFUSED_STREAM else f"reset ({what})"
            self._settle(NoAnswer(f"the request was {name}"))
        elif kind == control.FAILED:
            self._settle(NoAnswer("answered something that is not HTTP/2"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take an end without an answer for none."""
        self._settle(NoAnswer("closed the connection without an answer"))

    def _settle(self, outcome: Reply | NoAnswer) -> None:
        if not self.done.called:
            if isinstance(outcome, NoAnswer):
                self.done.errback(outcome)
            else:
                self.done.callback(outcome)


async def ask(
    reactor: Any,
    address: Address,
    method: bytes,
    path: bytes,
    fields: tuple[Field, ...],
    body: bytes,
    timeout_s: float,
) -> Reply:
    """Send one request and return the whole answer; the connection closes after it.

    C{timeout_s} is for the connect; for all of it cancel what this returns.

    @raise NoAnswer: none came that is one.
    @raise Exception: the connection did not come about (Twisted's errors).
    """
    head = encode(
        [
            (b":method", method),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", address.authority.encode()),
            *fields,
        ]
    )
    kind = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
    endpoint = kind(reactor, address.host, address.port, timeout=timeout_s)
    connected: Any = await endpoint.connect(
        Factory.forProtocol(lambda: _Asking(head, body, reactor.seconds()))
    )
    asking: _Asking = connected
    transport: Any = asking.transport
    try:
        return await asking.done
    finally:
        transport.abortConnection()
