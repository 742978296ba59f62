"""One health request: to the container's own address and nowhere else.

Redirects are not followed, so an app cannot point the probe elsewhere; 200 to 399
is healthy; the body is not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar
from typing import Protocol as TypingProtocol

from attrs import define, field, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from haloy.health import grpc
from haloy.model.app import Address, HealthCheck

HEAD_LIMIT_BYTES = 65536
T = TypeVar("T")

_FIELDS = ((b"user-agent", b"haloy-health"), (b"accept", b"*/*"))
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2})(?: [^\r\n]*)?\r?\n")


@frozen
class ProbeResult:
    """What one probe saw; C{reason} is for a person in either case."""

    passed: bool
    reason: str


@define(eq=False, slots=False)
class _Request(Protocol):
    """Writes one GET and reads the status line."""

    _request: bytes
    status: Deferred[int] = field(factory=Deferred)
    _seen: bytes = field(default=b"", init=False)

    def connectionMade(self) -> None:
        """Ask."""
        self.peer().write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Look for the status line; interim answers are passed over."""
        self._seen += data
        while (match := _STATUS.match(self._seen)) is not None:
            status = int(match[1])
            if status >= 200:
                self._settle(status)
                return
            end = self._seen.find(b"\r\n\r\n")
            if end < 0:
                break
            self._seen = self._seen[end + 4 :]
        if len(self._seen) > HEAD_LIMIT_BYTES or (
            b"\n" in self._seen and _STATUS.match(self._seen) is None
        ):
            self._settle(0)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Take an end without a status for no answer."""
        if not self.status.called:
            self.status.callback(-1)

    def _settle(self, status: int) -> None:
        if not self.status.called:
            self.status.callback(status)
        self.peer().abortConnection()

    def peer(self) -> ITCPTransport:
        """Return the connection."""
        transport: Any = self.transport
        found: ITCPTransport = transport
        return found


class Reply(TypingProtocol):
    """An answer over HTTP/2; C{fields} are those of its head and its trailers."""

    @property
    def status(self) -> int:
        """The status."""

    @property
    def body(self) -> bytes:
        """The body, whole."""

    @property
    def fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Names in lower case, and values."""


#: Sends one request over HTTP/2 without TLS: reactor, address, method, path, fields,
#: body, seconds for the connect. Where the app gives no answer it raises
#: C{ConnectionAbortedError} with the reason.
Ask = Callable[
    [Any, Address, bytes, bytes, tuple[tuple[bytes, bytes], ...], bytes, float],
    Coroutine[Deferred[Any], Any, Reply],
]
#: Asks one replica: reactor, address, what to ask, seconds for all of it.
Prober = Callable[
    [Any, Address, HealthCheck, float], Coroutine[Deferred[Any], Any, ProbeResult]
]


def prober(ask: Ask) -> Prober:
    """Return what asks replicas; C{ask} is for those that speak HTTP/2."""

    async def probe_any(
        reactor: Any, address: Address, check: HealthCheck, timeout_s: float
    ) -> ProbeResult:
        if check.h2c or check.service is not None:
            return await _probe_h2c(ask, reactor, address, check, timeout_s)
        return await probe(reactor, address, check.path, timeout_s)

    return probe_any


async def probe(
    reactor: Any, address: Address, path: str, timeout_s: float
) -> ProbeResult:
    """Return what C{GET http://address/path} says; never raises for the app's fault."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {address.authority}\r\n"
        "User-Agent: haloy-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode()
    kind = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
    endpoint = kind(reactor, address.host, address.port, timeout=timeout_s)
    status = await _in_time(
        Deferred.fromCoroutine(_ask(endpoint, request)), reactor, address, timeout_s
    )
    if isinstance(status, ProbeResult):
        return status
    if status == -1:
        return ProbeResult(False, "closed the connection without an answer")
    if status == 0:
        return ProbeResult(False, "answered something that is not HTTP")
    return _by_status(path, status)


async def _probe_h2c(
    ask: Ask, reactor: Any, address: Address, check: HealthCheck, timeout_s: float
) -> ProbeResult:
    """Ask over HTTP/2: grpc.health.v1, or for a path."""
    service = check.service
    if service is None:
        asking = ask(
            reactor, address, b"GET", check.path.encode(), _FIELDS, b"", timeout_s
        )
    else:
        asking = ask(
            *(reactor, address, b"POST", grpc.CHECK, grpc.REQUEST_FIELDS),
            *(grpc.question(service), timeout_s),
        )
    reply = await _in_time(Deferred.fromCoroutine(asking), reactor, address, timeout_s)
    if isinstance(reply, ProbeResult):
        return reply
    if service is None:
        return _by_status(check.path, reply.status)
    said = dict(reply.fields).get(b"grpc-status", b"")
    return ProbeResult(*grpc.verdict(reply.status, said, reply.body))


def _by_status(path: str, status: int) -> ProbeResult:
    return ProbeResult(200 <= status <= 399, f"{path} answered {status}")


async def _in_time(
    asking: Deferred[T], reactor: Any, address: Address, timeout_s: float
) -> T | ProbeResult:
    """Return what C{asking} gives within C{timeout_s}, or why it gives nothing."""
    asking.addTimeout(timeout_s, reactor)
    try:
        return await asking
    except defer.TimeoutError:
        return ProbeResult(False, f"no answer within {timeout_s:g} s")
    except Exception as problem:  # Twisted's connection errors have no common base
        return ProbeResult(False, _refused(problem, address.port))


async def _ask(endpoint: Any, request: bytes) -> int:
    protocol: _Request = await endpoint.connect(
        Factory.forProtocol(lambda: _Request(request))
    )
    try:
        return await protocol.status
    finally:
        protocol.peer().abortConnection()


def _refused(problem: BaseException, port: int) -> str:
    text = str(problem).lower()
    if isinstance(problem, ConnectionAbortedError):
        return str(problem)
    if "refused" in text:
        return f"port {port} refuses connections"
    if "timed out" in text or "timeout" in text or "took longer" in text:
        return f"port {port} does not take connections in time"
    return f"port {port} is unreachable: {problem}"
