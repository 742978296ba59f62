"""One health request: to the container's own address and nowhere else.

Redirects are not followed, so an app cannot point the probe elsewhere; 200 to 399
is healthy; the body is not read.
"""

from __future__ import annotations

import re
from typing import Any

from attrs import define, field, frozen
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from haloy.model.app import Address

HEAD_LIMIT_BYTES = 65536
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


async def probe(
    reactor: Any, address: Address, path: str, timeout_s: float
) -> ProbeResult:
    """Return what C{GET http://address/path} says; never raises for the app's fault."""
    limit = f"no answer within {timeout_s:g} s"
    host = f"[{address.host}]" if ":" in address.host else address.host
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}:{address.port}\r\n"
        "User-Agent: haloy-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    ).encode()
    kind = TCP6ClientEndpoint if ":" in address.host else TCP4ClientEndpoint
    endpoint = kind(reactor, address.host, address.port, timeout=timeout_s)
    asking = Deferred.fromCoroutine(_ask(endpoint, request))
    asking.addTimeout(timeout_s, reactor)
    try:
        status = await asking
    except defer.TimeoutError:
        return ProbeResult(False, limit)
    except OSError as problem:
        return ProbeResult(False, _refused(problem, address.port))
    except Exception as problem:  # Twisted's connection errors have no common base
        return ProbeResult(False, _refused(problem, address.port))
    if status == -1:
        return ProbeResult(False, "closed the connection without an answer")
    if status == 0:
        return ProbeResult(False, "answered something that is not HTTP")
    return ProbeResult(200 <= status <= 399, f"{path} answered {status}")


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
    if "refused" in text:
        return f"port {port} refuses connections"
    if "timed out" in text or "timeout" in text or "took longer" in text:
        return f"port {port} does not take connections in time"
    return f"port {port} is unreachable: {problem}"
