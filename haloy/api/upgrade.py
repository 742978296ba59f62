"""The client's side of a connection that changes its protocol after one request.

For tunnels and terminals: the request is written, the head of the answer read, and
after a 101 the connection is somebody else's.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from haloy.errors import ServerUnreachable

HEAD_LIMIT_BYTES = 16384
REFUSAL_LIMIT_BYTES = 65536
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d{1,9})")


@implementer(IHalfCloseableProtocol)
@define(eq=False, slots=False)
class _Asking(Protocol):
    """Reads an answer's head, a refusal to its end; passes on what follows a 101."""

    _head: bytes = field(default=b"", init=False)
    _next: Any = field(default=None, init=False)
    answered: Deferred[tuple[int, bytes]] = field(factory=Deferred, init=False)

    def dataReceived(self, data: bytes) -> None:
        """Wait for the whole head, then pass on."""
        if self._next is not None:
            self._next.dataReceived(data)
            return
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if not found:
            if len(self._head) > HEAD_LIMIT_BYTES:
                self._end()
        elif _status(head) == 101:
            transport: Any = self.transport
            transport.pauseProducing()  # until somebody takes the connection over
            self._answer(101, rest)
        elif len(rest) > REFUSAL_LIMIT_BYTES or _is_whole(head, rest):
            self._end()

    def readConnectionLost(self) -> None:
        """Pass the end on; before a 101 it ends the answer."""
        if IHalfCloseableProtocol.providedBy(self._next):
            self._next.readConnectionLost()
        else:
            self._end()
            transport: Any = self.transport
            transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Go on reading: only our half is closed."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Pass the end on; before a 101 it ends the answer."""
        if self._next is not None:
            self._next.connectionLost(reason)
        else:
            self._end()

    def hand_over(self, protocol: IProtocol, rest: bytes) -> bytes:
        """Give the connection to C{protocol}, with C{rest}; return the head."""
        transport: Any = self.transport
        self._next = protocol
        protocol.makeConnection(transport)
        if rest:
            protocol.dataReceived(rest)
        transport.resumeProducing()
        return self._head.partition(b"\r\n\r\n")[0]

    def _end(self) -> None:
        head, found, body = self._head.partition(b"\r\n\r\n")
        self._answer(_status(head) if found else 0, _body(head, body))

    def _answer(self, status: int, rest: bytes) -> None:
        if not self.answered.called:
            self.answered.callback((status, rest))


def _status(head: bytes) -> int:
    words = head.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def _is_whole(head: bytes, body: bytes) -> bool:
    """Return whether a refusal has been read to its end."""
    if b"transfer-encoding: chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = _LENGTH.search(head)
    return length is not None and len(body) >= int(length[1])


def _body(head: bytes, body: bytes) -> bytes:
    """Return a refusal's text; chunks are joined as far as they came."""
    if b"transfer-encoding: chunked" not in head.lower():
        return body
    text = b""
    while True:
        line, found, rest = body.partition(b"\r\n")
        size = int(line, 16) if found and line.isalnum() else 0
        if not size:
            return text
        text, body = text + rest[:size], rest[size + 2 :]


async def upgrade(
    reactor: Any,
    endpoint: IStreamClientEndpoint,
    head: bytes,
    limit_s: float,
    refused: Callable[[int, bytes], Exception],
    protocol: IProtocol,
) -> bytes:
    """Send a request, give its connection to C{protocol}; return the answer's head.

    @param refused: returns the error for a status and its text.
    @raise ServerUnreachable: nobody answers.
    """
    try:
        asking: _Asking = await connectProtocol(endpoint, _Asking())
    except Exception as problem:  # connection and TLS errors have no common base
        raise ServerUnreachable(
            f"server not available: {str(problem).rstrip('.')}"
        ) from problem
    transport: Any = asking.transport
    transport.write(head)
    asking.answered.addTimeout(limit_s, reactor)
    try:
        status, rest = await asking.answered
    except defer.TimeoutError:
        transport.abortConnection()
        raise ServerUnreachable(f"no answer within {limit_s:g} s") from None
    if status == 101:
        return asking.hand_over(protocol, rest)
    transport.abortConnection()
    if not status:
        raise ServerUnreachable("the connection broke off before an answer came")
    raise refused(status, rest)
