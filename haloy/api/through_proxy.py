"""Reaching a server through the proxy that HTTPS_PROXY names, by CONNECT.

RFC 9110 section 9.3.6. TLS goes through it untouched: the proxy sees host and port.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.config.unreachable import why
from haloy.errors import ConfigError, ServerUnreachable

#: The head of a proxy's answer is never this long.
HEAD_LIMIT_BYTES = 16 * 1024
DEFAULT_PORTS = {"http": 80, "https": 443}


@frozen
class Proxy:
    """A proxy for HTTPS; C{credentials} is C{user:password}, C{""} for none."""

    scheme: str
    host: str
    port: int
    credentials: str = ""


def proxy_for(host: str, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy by which C{host} is reached, C{None} for none.

    @raise ConfigError: HTTPS_PROXY is no URL of a proxy.
    """
    names = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
    name = next((one for one in names if environment.get(one)), None)
    if name is None:
        return None
    not_by = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    if _bypassed(host.lower(), not_by.lower()):
        return None
    url = environment[name]
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError as problem:
        raise ConfigError(f"{name} is not a URL: {problem}") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigError(f"{name} must be http://HOST:PORT or https://HOST:PORT")
    credentials = ""
    if parts.username:
        user, password = unquote(parts.username), unquote(parts.password or "")
        credentials = f"{user}:{password}"
    port = port or DEFAULT_PORTS[parts.scheme]
    return Proxy(parts.scheme, parts.hostname, port, credentials)


def _bypassed(host: str, not_by: str) -> bool:
    """Return whether C{host} is one of NO_PROXY's names, or below one."""
    names = (one.strip().partition(":")[0].lstrip(".") for one in not_by.split(","))
    return any(
        name == "*" or host == name or (name and host.endswith(f".{name}"))
        for name in names
    )


@implementer(IStreamClientEndpoint)
class ThroughProxy:
    """Connects to C{host:port} through a proxy that is reached by C{endpoint}."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, host: str, port: int, credentials: str
    ) -> None:
        """Know the way."""
        self._endpoint = endpoint
        shown = f"[{host}]" if ":" in host else host
        lines = [f"CONNECT {shown}:{port} HTTP/1.1", f"Host: {shown}:{port}"]
        if credentials:
            word = base64.b64encode(credentials.encode()).decode()
            lines.append(f"Proxy-Authorization: Basic {word}")
        self._head = "\r\n".join([*lines, "", ""]).encode()

    def connect(self, protocol_factory: Any) -> Deferred[Any]:
        """Return the protocol of C{protocol_factory}, connected."""
        opening: _Opening | None = None

        def cancel(_: Deferred[Any]) -> None:
            waiting.cancel()
            if opening is not None:
                opening.abort()

        done: Deferred[Any] = Deferred(cancel)

        def begin(protocol: _Opening) -> None:
            nonlocal opening
            opening = protocol

        factory = Factory.forProtocol(
            lambda: _Opening(self._head, protocol_factory, done)
        )
        waiting: Deferred[Any] = self._endpoint.connect(factory)
        waiting.addCallbacks(begin, lambda failure: _end(done, _of_proxy(failure)))
        return done


class _Opening(Protocol):
    """The connection: until the proxy has opened the way, then another's."""

    def __init__(self, head: bytes, factory: Any, done: Deferred[Any]) -> None:
        self._head = head
        self._factory = factory
        self._done = done
        self._received = b""
        self._inner: Any = None

    def connectionMade(self) -> None:
        self._peer.write(self._head)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            if len(self._received) > HEAD_LIMIT_BYTES:
                self._fail("does not answer like a proxy")
            return
        status = head.split(b"\r\n", 1)[0].split(b" ")
        if len(status) < 2 or not status[0].startswith(b"HTTP/1."):
            self._fail("does not answer like a proxy")
        elif not status[1].startswith(b"2"):
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            self._fail(f"refuses: {line}")
        else:
            self._hand_over(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        else:
            self._fail("closed the connection")

    def abort(self) -> None:
        """Want nothing more of it."""
        self._peer.abortConnection()

    @property
    def _peer(self) -> Any:
        return self.transport

    def _fail(self, what: str) -> None:
        problem = ServerUnreachable(f"the proxy of HTTPS_PROXY {what}")
        _end(self._done, Failure(problem))
        self.abort()

    def _hand_over(self, rest: bytes) -> None:
        self._inner = self._factory.buildProtocol(self._peer.getPeer())
        self._inner.makeConnection(self._peer)
        self._done.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)


def _of_proxy(failure: Failure) -> Failure:
    """Return a failure to reach the proxy as one that names it."""
    if failure.check(CancelledError):
        return failure
    told = why(failure.value, "SSL_CERT_FILE")
    return Failure(
        ServerUnreachable(f"the proxy of HTTPS_PROXY cannot be reached: {told}")
    )


def _end(done: Deferred[Any], failure: Failure) -> None:
    if not done.called and not failure.check(CancelledError):
        done.errback(failure)
