"""Docker's HTTP API on the reactor: for streams, and for calls that take long.

A stream costs no thread, stops reading while its reader is busy, and closes its
connection when it is cancelled, which is how Docker learns that nobody listens.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionClosed,
    ConnectionDone,
)
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from haloy.engine.away import unreachable
from haloy.engine.stream import disk_full
from haloy.errors import Conflict, EngineError, EngineUnavailable, HaloyError, NotFound

ANSWER_LIMIT_S = 30.0
ERROR_LIMIT_BYTES = 65536
CALL_LIMIT_BYTES = 16 << 20


def place_of(base_url: str) -> str | tuple[str, int]:
    """Return the path of the engine's socket, or its host and port."""
    parts = urlsplit(base_url)
    if parts.scheme in {"unix", "http+unix"}:
        return parts.path or parts.netloc
    return parts.hostname or "127.0.0.1", parts.port or 2375


@implementer(IAgentEndpointFactory)
@define(eq=False)
class _Endpoints:
    """Leads every request to the engine's socket."""

    _reactor: Any
    _base_url: str

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:  # noqa: N802  (Twisted)
        place = place_of(self._base_url)
        if isinstance(place, str):
            return UNIXClientEndpoint(self._reactor, place, timeout=10)
        return TCP4ClientEndpoint(self._reactor, *place, timeout=10)


@define(eq=False, slots=False)
class Body(Protocol):
    """A response's body, piece by piece; reading stops while a piece is in use."""

    _pieces: deque[bytes] = field(factory=deque, init=False)
    _wanted: Deferred[None] | None = field(default=None, init=False)
    _end: Failure | None = field(default=None, init=False)

    def connectionMade(self) -> None:
        """Wait for the first reader."""
        self._transport().pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """Keep C{data} for the reader."""
        self._pieces.append(data)
        self._transport().pauseProducing()
        self._wake()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Remember how it ended."""
        self._end = reason
        self._wake()

    async def read(self) -> bytes:
        """Return the next piece, C{b""} at the end.

        Cancelling closes the connection. @raise EngineUnavailable: it broke off.
        """
        while not self._pieces:
            if self._end is not None:
                if self._end.check(ResponseDone, PotentialDataLoss):
                    return b""
                raise EngineUnavailable("Docker closed the connection in mid-stream")
            self._wanted = Deferred(lambda _: self.close())
            self._transport().resumeProducing()
            try:
                await self._wanted
            finally:
                self._wanted = None
        return self._pieces.popleft()

    def close(self) -> None:
        """Close the connection."""
        if self._end is None:
            self._transport().stopProducing()

    def _transport(self) -> Any:
        return cast(ITransport, self.transport)

    def _wake(self) -> None:
        if self._wanted is not None and not self._wanted.called:
            self._wanted.callback(None)


@implementer(IHalfCloseableProtocol)
@define(eq=False, slots=False)
class Hijacked(Body):
    """A connection that leaves HTTP behind its first answer, for input and output."""

    _head: bytes = field(default=b"", init=False)
    _producer: Any = field(default=None, init=False)
    answered: Deferred[tuple[int, bytes]] = field(factory=Deferred, init=False)

    def connectionMade(self) -> None:
        """Wait for the answer's head."""

    def dataReceived(self, data: bytes) -> None:
        """Take the head, then output."""
        if self.answered.called:
            super().dataReceived(data)
            return
        self._head += data
        head, found, rest = self._head.partition(b"\r\n\r\n")
        if found or len(self._head) > ERROR_LIMIT_BYTES:
            self._transport().pauseProducing()
            words = head.split(b" ", 2)
            if rest:
                super().dataReceived(rest)
            status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
            self.answered.callback((status, rest))

    def readConnectionLost(self) -> None:
        """Note that the output has ended."""
        self.connectionLost()

    def writeConnectionLost(self) -> None:
        """Go on reading: output may still come."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Note that the output has ended, or that the head never comes."""
        if not self.answered.called:
            self.answered.callback((0, b""))
        if self._end is None:
            ended = reason.check(ConnectionDone, ConnectionAborted)
            super().connectionLost(Failure(ResponseDone()) if ended else reason)

    def write(self, data: bytes) -> None:
        """Send input."""
        self._transport().write(data)

    def paused_by(self, producer: Any) -> None:
        """Pause C{producer}, an C{IPushProducer}, while input waits to be taken."""
        self._producer = producer
        self._transport().registerProducer(producer, True)

    def end_input(self) -> None:
        """Say that no more input comes, behind what waits to be taken.

        A transport with a paused producer would never close its half: it looks for
        more to write from it when all is written. One that is closed raises.
        """
        if not self._transport().connected:
            return
        producer, self._producer = self._producer, None
        if producer is not None:
            self._transport().unregisterProducer()
            producer.resumeProducing()
        self._transport().loseWriteConnection()

    def close(self) -> None:
        """Close the connection, whatever waits."""
        self._transport().abortConnection()


@define(eq=False)
class EngineHttp:
    """Requests to the engine, one connection each."""

    reactor: Any
    _base_url: str
    _version: str
    _agent: Agent = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Make the agent; streams must not share connections."""
        self._agent = Agent.usingEndpointFactory(
            self.reactor,
            _Endpoints(self.reactor, self._base_url),
            HTTPConnectionPool(self.reactor, persistent=False),
        )

    async def stream(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        producer: IBodyProducer | None = None,
        answer_limit_s: float = ANSWER_LIMIT_S,
    ) -> tuple[IResponse, Body]:
        """Return response and body of a request that was granted.

        @raise HaloyError: see L{refusal}, or L{EngineUnavailable}.
        """
        url = f"http://docker/v{self._version}{path}"
        if query:
            url += "?" + urlencode(query)
        sent = Headers(
            {"Host": ["docker"], **{k: [v] for k, v in (headers or {}).items()}}
        )
        if body is not None:
            sent.setRawHeaders("Content-Type", ["application/json"])
            producer = Bytes(json.dumps(body).encode())
        asked = self._agent.request(method.encode(), url.encode(), sent, producer)
        asked.addTimeout(answer_limit_s, self.reactor)
        try:
            response: IResponse = await asked
        except defer.TimeoutError:
            raise EngineUnavailable(
                f"Docker did not answer within {answer_limit_s:g} s"
            ) from None
        except (
            ConnectError,
            ConnectionClosed,
            ResponseFailed,
            ResponseNeverReceived,
            OSError,
        ) as problem:
            raise unreachable(problem) from problem
        received = Body()
        response.deliverBody(received)
        if response.code >= 400:
            raise refusal(response.code, await whole(received, ERROR_LIMIT_BYTES))
        return response, received

    async def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: object = None,
        answer_limit_s: float = ANSWER_LIMIT_S,
    ) -> Any:
        """Return the JSON of the answer, C{None} for an empty one."""
        _, received = await self.stream(
            method, path, query, body, answer_limit_s=answer_limit_s
        )
        text = await whole(received, CALL_LIMIT_BYTES)
        return json.loads(text) if text.strip() else None

    async def hijack(self, path: str, body: object) -> Hijacked:
        """Return the connection of a POST that Docker has agreed to.

        @raise HaloyError: see L{refusal}, or L{EngineUnavailable}.
        """
        sent = json.dumps(body).encode()
        head = (
            f"POST /v{self._version}{path} HTTP/1.1\r\nHost: docker\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
        )
        uri = URI.fromBytes(b"http://docker/")
        endpoint = _Endpoints(self.reactor, self._base_url).endpointForURI(uri)
        try:
            found: Hijacked = await connectProtocol(endpoint, Hijacked())
        except (ConnectError, OSError) as problem:
            raise unreachable(problem) from problem
        found.write(head.encode() + sent)
        found.answered.addTimeout(ANSWER_LIMIT_S, self.reactor)
        try:
            status, rest = await found.answered
        except defer.TimeoutError:
            found.close()
            raise EngineUnavailable(
                f"Docker did not answer within {ANSWER_LIMIT_S:g} s"
            ) from None
        if status not in {101, 200}:
            found.close()
            if not status:
                raise EngineUnavailable("Docker closed the connection")
            raise refusal(status, rest)
        return found


@implementer(IBodyProducer)
@define(eq=False)
class Bytes:
    """A request body that is in memory."""

    _content: bytes

    @property
    def length(self) -> int:
        """How many bytes there are."""
        return len(self._content)

    def startProducing(self, consumer: Any) -> Deferred[None]:  # noqa: N802  (Twisted)
        """Write all of it."""
        consumer.write(self._content)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """All is written already."""

    def resumeProducing(self) -> None:
        """All is written already."""

    def stopProducing(self) -> None:
        """All is written already."""


async def whole(body: Body, limit_bytes: int) -> bytes:
    """Return all of C{body}. @raise EngineError: it is larger than the limit."""
    pieces, size = [], 0
    while piece := await body.read():
        size += len(piece)
        if size > limit_bytes:
            body.close()
            raise EngineError(f"Docker's answer is larger than {limit_bytes} bytes")
        pieces.append(piece)
    return b"".join(pieces)


def refusal(status: int, text: bytes) -> HaloyError:
    """Return the error that a status of 400 or more means."""
    try:
        reason = str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        reason = text.decode(errors="replace").strip() or f"status {status}"
    return engine_error(status, reason)


def engine_error(status: int, reason: str) -> HaloyError:
    """Return the error for what Docker answered."""
    if status == 404:
        return NotFound(reason)
    if status == 409:
        return Conflict(reason)
    if "no space left on device" in reason.lower():
        return disk_full(reason)
    return EngineError(reason, status=status)
