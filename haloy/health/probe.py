"""One health request: to the container's own address and nowhere else.

Redirects are not followed, so an app cannot point the probe elsewhere; 200 to 399
is healthy; the body is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from attrs import frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred

from haloy.health import grpc
from haloy.health.answer import HTTP2_ALONE, NO_ANSWER, NOT_HTTP
from haloy.health.question import NotConnected, Question
from haloy.model.app import Address, HealthCheck

_FIELDS = ((b"user-agent", b"haloy-health"), (b"accept", b"*/*"))
_TO_HTTP2 = (
    "speaks HTTP/2 alone: it needs proxy.protocol: h2c, and a gRPC server "
    "health_check_path: grpc"
)
#: What L{Ask} says of who does not speak HTTP/2, and then the way out.
_NOT_HTTP2 = "answered something that is not HTTP/2"
_TO_HTTP1 = f"{_NOT_HTTP2}, as proxy.protocol: h2c promises; leave that out"
_NOT_GRPC = f"{_NOT_HTTP2}; health_check_path: grpc is for gRPC servers"


@frozen
class ProbeResult:
    """What one probe saw; C{reason} is for a person in either case.

    C{reached}: somebody there took a connection, or refused it.
    """

    passed: bool
    reason: str
    reached: bool = True


class Reply(Protocol):
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
    question = Question(reactor, request)
    question.ask(address, timeout_s)
    try:
        status = await question.status
    except TimeoutError:
        return _silent(timeout_s)
    except NotConnected as problem:
        return _refused(problem, address)
    if status == NO_ANSWER:
        return ProbeResult(False, "closed the connection without an answer")
    if status == HTTP2_ALONE:
        return ProbeResult(False, _TO_HTTP2)
    if status == NOT_HTTP:
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
    answered = Deferred.fromCoroutine(asking)
    answered.addTimeout(timeout_s, reactor)
    try:
        reply = await answered
    except defer.TimeoutError:
        return _silent(timeout_s)
    except Exception as problem:  # Twisted's connection errors have no common base
        if str(problem) == _NOT_HTTP2:
            return ProbeResult(False, _TO_HTTP1 if service is None else _NOT_GRPC)
        return _refused(problem, address)
    if service is None:
        return _by_status(check.path, reply.status)
    said = dict(reply.fields).get(b"grpc-status", b"")
    return ProbeResult(*grpc.verdict(reply.status, said, reply.body))


def _by_status(path: str, status: int) -> ProbeResult:
    return ProbeResult(200 <= status <= 399, f"{path} answered {status}")


def _silent(timeout_s: float) -> ProbeResult:
    return ProbeResult(False, f"no answer within {timeout_s:g} s")


def _refused(problem: Exception, address: Address) -> ProbeResult:
    """Return what it means for an app that no connection to it stands."""
    reason, port = str(problem), address.port
    text = reason.lower()
    if isinstance(problem, ConnectionAbortedError):
        return ProbeResult(False, reason)
    if "refused" in text:
        return ProbeResult(False, f"port {port} refuses connections")
    if "timed out" in text or "timeout" in text or "took longer" in text:
        reason = f"port {port} does not take connections in time"
    else:
        reason = f"port {port} is unreachable: {problem}"
    return ProbeResult(False, reason, reached=False)
