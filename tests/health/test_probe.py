"""What one probe says of what it meets, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.protocol import Factory, Protocol

from haloy.health.probe import probe
from haloy.model.app import Address


@define(eq=False, slots=False)
class Script(Protocol):
    """Answers whatever is asked with the same bytes."""

    answer: bytes
    hang_up: bool
    asked: list[bytes]

    def dataReceived(self, data: bytes) -> None:
        self.asked.append(data)
        self.transport.write(self.answer)  # type: ignore[union-attr]  # connected
        if self.hang_up:
            self.transport.loseConnection()  # type: ignore[union-attr]  # connected


@define(eq=False)
class App:
    """A scripted app on loopback."""

    reactor: Any
    asked: list[bytes] = field(factory=list)
    ports: list[Any] = field(factory=list)

    def serve(
        self, answer: bytes, hang_up: bool = False, interface: str = "127.0.0.1"
    ) -> Address:
        factory = Factory.forProtocol(lambda: Script(answer, hang_up, self.asked))
        port = self.reactor.listenTCP(0, factory, interface=interface)
        self.ports.append(port)
        return Address(interface, port.getHost().port)


@pytest_twisted.async_yield_fixture
async def app(reactor: Any) -> AsyncIterator[App]:
    served = App(reactor)
    yield served
    for port in served.ports:
        await port.stopListening()


@pytest.mark.parametrize(
    ("answer", "passed", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, "/h answered 200"),
        (b"HTTP/1.0 204 \r\n\r\n", True, "/h answered 204"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://x/\r\n\r\n", True, "302"),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False, "404"),
        (b"HTTP/1.1 500 No\r\n\r\n", False, "/h answered 500"),
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", True, "200"),
        (b"SSH-2.0-OpenSSH\r\n", False, "not HTTP"),
    ],
)
async def test_answers(
    app: App, reactor: Any, answer: bytes, passed: bool, reason: str
) -> None:
    """200 to 399 is healthy; redirects are not followed."""
    address = app.serve(answer)
    result = await probe(reactor, address, "/h", 5)
    assert result.passed is passed
    assert reason in result.reason
    assert app.asked[0].startswith(b"GET /h HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_no_answer_in_time(app: App, reactor: Any) -> None:
    """A hung app is told from one that refuses."""
    address = app.serve(b"HTTP/1.1")
    result = await probe(reactor, address, "/", 0.1)
    assert (result.passed, result.reason) == (False, "no answer within 0.1 s")


async def test_closed_without_an_answer(app: App, reactor: Any) -> None:
    """An app that hangs up is not healthy."""
    address = app.serve(b"", hang_up=True)
    result = await probe(reactor, address, "/", 5)
    assert result.reason == "closed the connection without an answer"


async def test_refused(app: App, reactor: Any) -> None:
    """Nothing listens: the port is named."""
    address = app.serve(b"")
    await app.ports.pop().stopListening()
    result = await probe(reactor, address, "/", 5)
    assert result.reason == f"port {address.port} refuses connections"


async def test_ipv6(app: App, reactor: Any) -> None:
    """Networks with IPv6 only are probed too."""
    address = app.serve(b"HTTP/1.1 200 OK\r\n\r\n", interface="::1")
    assert (await probe(reactor, address, "/", 5)).passed
    assert f"Host: [::1]:{address.port}".encode() in app.asked[0]
