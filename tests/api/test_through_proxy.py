"""Servers behind a proxy: which one, and what goes through it."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from haloy.api.through_proxy import Proxy, ThroughProxy, proxy_for
from haloy.errors import ConfigError, ServerUnreachable


@pytest.mark.parametrize(
    ("environment", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": ""}, None),
        ({"HTTPS_PROXY": "http://p:3128"}, Proxy("http", "p", 3128)),
        ({"https_proxy": "p", "HTTPS_PROXY": "q"}, Proxy("http", "p", 80)),
        ({"HTTPS_PROXY": "https://p"}, Proxy("https", "p", 443)),
        ({"ALL_PROXY": "http://u:p%40@p:1/"}, Proxy("http", "p", 1, "u:p@")),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "x, s.example.com:443"}, None),
        ({"HTTPS_PROXY": "p:1", "no_proxy": ".Example.com"}, None),
        ({"HTTPS_PROXY": "p:1", "NO_PROXY": "ample.com,"}, Proxy("http", "p", 1)),
    ],
)
def test_which_proxy(environment: dict[str, str], proxy: Proxy | None) -> None:
    """Lower case first, as curl does; NO_PROXY names hosts and what is below them."""
    assert proxy_for("s.example.com", environment) == proxy


@pytest.mark.parametrize("url", ["socks5://p:1", "http://", "http://p:x"])
def test_what_is_no_proxy_of_ours(url: str) -> None:
    """The variable is named."""
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        proxy_for("s.example.com", {"HTTPS_PROXY": url})


class _Way:
    """An endpoint whose connection the test holds."""

    def __init__(self) -> None:
        self.connecting: Deferred[Any] = Deferred()
        self.transport = StringTransport(
            peerAddress=IPv4Address("TCP", "127.0.0.1", 3128)
        )
        self.protocol: Any = None

    def connect(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return self.connecting

    def connected(self) -> None:
        self.protocol = self.factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.connecting.callback(self.protocol)


class _Inner(Protocol):
    seen = b""
    ended = False

    def dataReceived(self, data: bytes) -> None:
        self.seen += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended = True


def connect(way: _Way, credentials: str = "") -> tuple[Deferred[Any], list[Failure]]:
    endpoint: Any = ThroughProxy(way, "s.example.com", 443, credentials)  # type: ignore[arg-type]  # all it asks
    failures: list[Failure] = []
    done: Deferred[Any] = endpoint.connect(Factory.forProtocol(_Inner))
    done.addErrback(failures.append)
    return done, failures


def test_connect_then_everything_is_the_inner_ones() -> None:
    """Bytes behind the head count too, in whatever pieces they come."""
    way = _Way()
    done, failures = connect(way, "u:p")
    way.connected()
    word = base64.b64encode(b"u:p").decode()
    assert way.transport.value().decode() == (
        "CONNECT s.example.com:443 HTTP/1.1\r\nHost: s.example.com:443\r\n"
        f"Proxy-Authorization: Basic {word}\r\n\r\n"
    )
    for piece in (b"HTTP/1.1 200 OK\r\nX", b": y\r\n\r", b"\nfirst"):
        way.protocol.dataReceived(piece)
    inner: Any = done.result
    assert (inner.seen, failures) == (b"first", [])
    way.protocol.dataReceived(b" more")
    assert inner.seen == b"first more"
    way.protocol.connectionLost(Failure(ConnectionDone()))
    assert inner.ended


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "407 Proxy Auth"),
        (b"220 smtp\r\n\r\n", "not answer like a proxy"),
        (b"x" * 20000, "not answer like a proxy"),
    ],
)
def test_a_proxy_that_refuses(answer: bytes, told: str) -> None:
    """Its words are in the error."""
    way = _Way()
    _, failures = connect(way)
    way.connected()
    way.protocol.dataReceived(answer)
    (failure,) = failures
    failure.trap(ServerUnreachable)
    assert told in failure.getErrorMessage()


def test_a_proxy_that_is_not_there_or_hangs_up() -> None:
    """Both are told once."""
    way = _Way()
    _, failures = connect(way)
    way.connecting.errback(Failure(ConnectError()))
    assert "proxy of HTTPS_PROXY cannot be reached" in failures[0].getErrorMessage()
    way = _Way()
    _, failures = connect(way)
    way.connected()
    way.protocol.connectionLost(Failure(ConnectionDone()))
    assert "closed the connection" in failures[0].getErrorMessage()


@pytest.mark.parametrize("connected", [False, True])
def test_cancelling(connected: bool) -> None:
    """Before and after the proxy has answered."""
    way = _Way()
    done, failures = connect(way)
    if connected:
        way.connected()
    done.cancel()
    assert failures[0].check(CancelledError, ServerUnreachable)
    if connected:
        assert way.transport.disconnecting
