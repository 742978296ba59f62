"""What one probe says of what it meets, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent import futures
from typing import Any

import grpc
import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from haloy.health.probe import ProbeResult, probe, prober
from haloy.model.app import Address, HealthCheck
from haloy.proxy.http2 import frames
from haloy.proxy.http2.asking import ask
from tests.proxy.http2.support import block, frame


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
        (frame(frames.SETTINGS), False, "it needs proxy.protocol: h2c"),
        (frame(frames.SETTINGS, 0, 0, bytes(24)), False, "health_check_path: grpc"),
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
    assert result.reached


async def test_not_reached(reactor: Any) -> None:
    """No way there is told from an app that takes no connections."""
    result = await probe(reactor, Address("255.255.255.255", 1), "/", 5)
    assert (result.passed, result.reached) == (False, False)
    assert "port 1 is unreachable" in result.reason


async def test_ipv6(app: App, reactor: Any) -> None:
    """Networks with IPv6 only are probed too."""
    address = app.serve(b"HTTP/1.1 200 OK\r\n\r\n", interface="::1")
    assert (await probe(reactor, address, "/", 5)).passed
    assert f"Host: [::1]:{address.port}".encode() in app.asked[0]


def grpc_server(states: dict[str, bytes]) -> tuple[Any, int]:
    """Start a real server that implements grpc.health.v1 by hand."""

    def check(request: bytes, context: Any) -> bytes:
        found = states.get(request[2:].decode())
        if found is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return found or b""

    server = grpc.server(futures.ThreadPoolExecutor(2))
    if states:
        handler = grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {"Check": grpc.unary_unary_rpc_method_handler(check)},
        )
        server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


@pytest.mark.parametrize(
    ("path", "passed", "reason"),
    [
        ("grpc", True, "SERVING"),
        ("grpc:shop.Orders", True, "SERVING"),
        ("grpc:shop.Mail", False, "NOT_SERVING"),
        ("grpc:shop.None", False, "does not know the service"),
    ],
)
async def test_grpc_health(reactor: Any, path: str, passed: bool, reason: str) -> None:
    """A real gRPC server says what it thinks of itself, or of one service."""
    server, port = grpc_server(
        {"": b"\x08\x01", "shop.Orders": b"\x08\x01", "shop.Mail": b"\x08\x02"}
    )
    try:
        check = HealthCheck(path)
        result = await prober(ask)(reactor, Address("127.0.0.1", port), check, 10)
    finally:
        await deferToThread(server.stop(0).wait, 10)
    assert (result.passed, reason in result.reason) == (passed, True)


async def test_a_grpc_server_without_health(reactor: Any) -> None:
    """It says that the method is not there; so do we."""
    server, port = grpc_server({})
    try:
        check = HealthCheck("grpc", h2c=True)
        result = await prober(ask)(reactor, Address("127.0.0.1", port), check, 10)
    finally:
        await deferToThread(server.stop(0).wait, 10)
    assert not result.passed
    assert "does not implement" in result.reason


async def test_a_path_over_http2(app: App, reactor: Any) -> None:
    """An app with C{protocol: h2c} is asked over HTTP/2."""
    hello = frame(frames.SETTINGS)
    for status, passed in (("200", True), ("404", False)):
        head = frame(frames.HEADERS, 5, 1, block(((":status", status),)))
        address = app.serve(hello + head)
        check = HealthCheck("/h", h2c=True)
        result = await prober(ask)(reactor, address, check, 5)
        assert result == ProbeResult(passed, f"/h answered {status}")
    assert app.asked[0].startswith(frames.PREFACE)


async def test_http2_that_goes_wrong(app: App, reactor: Any) -> None:
    """The reason is for a person."""
    check = HealthCheck("/", h2c=True)
    address = app.serve(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    result = await prober(ask)(reactor, address, check, 5)
    assert not result.passed
    assert "not HTTP/2, as proxy.protocol: h2c promises" in result.reason
    health = HealthCheck("grpc", h2c=True)
    result = await prober(ask)(
        reactor, app.serve(b"HTTP/1.1 400 No\r\n\r\n"), health, 5
    )
    assert "not HTTP/2; health_check_path: grpc is for" in result.reason
    silent = app.serve(b"")
    result = await prober(ask)(reactor, silent, check, 0.2)
    assert result == ProbeResult(False, "no answer within 0.2 s")
    nobody = Address("127.0.0.1", 1)
    result = await prober(ask)(reactor, nobody, check, 5)
    assert result == ProbeResult(False, "port 1 refuses connections")


async def test_http1_stays_what_it_was(app: App, reactor: Any) -> None:
    """Without h2c the question is one of HTTP/1.1."""
    address = app.serve(b"HTTP/1.1 200 OK\r\n\r\n")
    result = await prober(ask)(reactor, address, HealthCheck("/h"), 5)
    assert result.passed
    assert app.asked[0].startswith(b"GET /h HTTP/1.1\r\n")
