"""One request of our own over h2c, to scripted servers."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.protocol import Factory, Protocol

from haloy.model.app import Address
from haloy.proxy.http2 import frames
from haloy.proxy.http2.asking import NoAnswer, Reply, ask
from tests.proxy.http2.support import block, decode, frame, number, split

HELLO = frame(frames.SETTINGS)
OK = frame(frames.HEADERS, 4, 1, block(((":status", "200"), ("x-a", "1"))))


@define(eq=False, slots=False)
class Script(Protocol):
    """Says what it has to say when anything has come."""

    answer: bytes
    hang_up: bool
    seen: list[bytes]

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        self.seen.append(data)
        if len(self.seen) == 1:
            transport.write(self.answer)
            if self.hang_up:
                transport.loseConnection()


@define(eq=False)
class Server:
    reactor: Any
    seen: list[bytes] = field(factory=list)

    async def answer(
        self,
        answer: bytes,
        *,
        hang_up: bool = False,
        body: bytes = b"",
        interface: str = "127.0.0.1",
    ) -> Reply:
        """Ask a server with this answer."""
        factory = Factory.forProtocol(lambda: Script(answer, hang_up, self.seen))
        port = self.reactor.listenTCP(0, factory, interface=interface)
        address = Address(interface, port.getHost().port)
        asking = Deferred.fromCoroutine(
            ask(self.reactor, address, b"GET", b"/h", ((b"x-b", b"2"),), body, 5.0)
        )
        asking.addTimeout(10, self.reactor)
        try:
            return await asking
        finally:
            await port.stopListening()


@pytest.mark.parametrize("interface", ["127.0.0.1", "::1"])
async def test_an_answer(reactor: Any, interface: str) -> None:
    """Head, body and trailers; the request is what was asked for."""
    server = Server(reactor)
    reply = await server.answer(
        HELLO
        + frame(frames.HEADERS, 4, 1, block(((":status", "103"),)))
        + OK
        + frame(frames.DATA, 0, 1, b"ab")
        + frame(frames.DATA, 0, 1, b"c")
        + frame(frames.HEADERS, 5, 1, block((("x-sum", "3"),))),
        interface=interface,
        body=b"question",
    )
    assert (reply.status, reply.body) == (200, b"abc")
    assert reply.fields == ((b"x-a", b"1"), (b"x-sum", b"3"))
    sent = split(b"".join(server.seen))
    head = dict(decode(next(one.body for one in sent if one.kind == frames.HEADERS)))
    assert (head[":method"], head[":path"], head["x-b"]) == ("GET", "/h", "2")
    assert head[":authority"].startswith("[::1]:" if ":" in interface else "127.")
    assert b"".join(one.body for one in sent if one.kind == frames.DATA) == b"question"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not HTTP/2"),
        (b"", "closed the connection"),
        (HELLO + frame(frames.RST_STREAM, 0, 1, number(7)), "refused"),
        (HELLO + frame(frames.RST_STREAM, 0, 1, number(2)), r"reset \(2\)"),
        (HELLO + OK + frame(frames.DATA, 0, 1, b"x" * 16384) * 5, "no end"),
        (HELLO + OK + frame(frames.DATA, 0, 1, b"x"), "closed the connection"),
    ],
)
async def test_no_answer(reactor: Any, answer: bytes, reason: str) -> None:
    """Each with its reason."""
    with pytest.raises(NoAnswer, match=reason):
        await Server(reactor).answer(answer, hang_up=True)


async def test_nobody_is_there(reactor: Any) -> None:
    """Twisted says so."""
    with pytest.raises(Refused):
        await ask(reactor, Address("127.0.0.1", 1), b"GET", b"/", (), b"", 5.0)
