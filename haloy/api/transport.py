"""Requests to one server, as every call of the client makes them.

Every failure is one of our errors; the texts say what to do next. Waits are
limited, what was refused for its rate is tried again, and a stream that breaks off
is taken up again before anything is said of how it ended.
"""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from typing import Any

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import deferLater
from twisted.web.client import URI, FileBodyProducer
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer

from haloy.api.paths import wire_url
from haloy.api.pieces import Pieces, whole
from haloy.api.sections import Sections
from haloy.api.sse import EventReader
from haloy.api.upgrade import upgrade
from haloy.config.unreachable import why
from haloy.errors import (
    Conflict,
    EngineUnavailable,
    Forbidden,
    HaloyError,
    InsufficientStorage,
    InvalidValue,
    NotFound,
    PolicyRefused,
    ServerUnreachable,
    TooMany,
    Unauthorized,
)

#: How people say which authority of their own to trust.
OWN_CA = "`haloy server add --ca-file`, or SSL_CERT_FILE"
ANSWER_LIMIT_S = 30.0
STREAM_IDLE_S = 90.0
#: A large body that moves no byte, or an answer to one that does not come.
UPLOAD_IDLE_S = 300.0
RETRIES = 4
#: What daemons say where they have no such path (C{spec/api.md}).
NO_ROUTE = "404 page not found"
#: How often what only reads is asked again when its connection breaks off.
REPEATS = 2
RESUMES = 5
#: haloyd's own C{/health} has none of them: they are a proxy's, before it.
_BY_A_PROXY = frozenset({502, 503, 504})
#: Statuses of a server that is being started, or asked too much.
_PASSING = _BY_A_PROXY | {429}

_ERRORS: dict[int, type[HaloyError]] = {
    400: InvalidValue,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    507: InsufficientStorage,
}


@define(eq=False)
class Transport:
    """One server: its base URL and the token for it.

    @ivar _limit_s: how long to wait for the head of an answer.
    @ivar _endpoints: how the server is reached where HTTP is left (tunnel, terminal).
    """

    reactor: Any
    _agent: IAgent
    base_url: str
    _token: str = field(repr=lambda _: "***")
    _limit_s: float = ANSWER_LIMIT_S
    _endpoints: IAgentEndpointFactory | None = None
    _healthy: bool = field(default=False, init=False)

    async def check_health(self) -> None:
        """Return when the server answers; asked once a client.

        @raise ServerUnreachable: it does not.
        """
        if not self._healthy:
            response, _ = await self._request("GET", "/health", None)
            if response.code >= 400:
                problem = f"it answers {response.code}"
                if response.code in _BY_A_PROXY:
                    problem += (
                        ": haloyd does not run there, or is just starting; try again, "
                        "or look on the server: systemctl status haloyd"
                    )
                raise ServerUnreachable(
                    f"server not available at {self.base_url}: {problem}"
                )
            self._healthy = True

    async def get(self, path: str, expected: tuple[int, ...] = ()) -> dict[str, Any]:
        """Return the JSON object at C{path}.

        @param expected: statuses of 400 and more that answer with one too.
        """
        await self.check_health()
        response, text = await self._request("GET", path, None)
        if response.code >= 400 and response.code not in expected:
            raise self._refusal(response, text)
        return json_object(text, self.base_url)

    async def post(
        self, path: str, body: Mapping[str, Any] | None, limit_s: float | None = None
    ) -> bytes:
        """Send a JSON object, return what is answered.

        @param limit_s: seconds to wait for the answer, when that takes its time.
        """
        await self.check_health()
        data = None if body is None else json.dumps(body).encode()
        response, text = await self._request("POST", path, data, limit_s)
        if response.code >= 400:
            raise self._refusal(response, text)
        return text

    async def send(
        self, path: str, headers: Mapping[str, str], body: Sections
    ) -> bytes:
        """Send a large body from its files, return what is answered.

        @raise ServerUnreachable: also for 5xx but 507: it may be tried again.
        """
        asked = self._headers()
        for name, value in headers.items():
            asked.setRawHeaders(name, [value])
        producer = FileBodyProducer(body)
        sending = Deferred.fromCoroutine(
            self._send("POST", path, asked, producer, None)
        )
        idle = self.reactor.callLater(UPLOAD_IDLE_S, sending.cancel)
        body.on_read(lambda _: idle.reset(UPLOAD_IDLE_S) if idle.active() else None)
        try:
            response = await sending
            text = await whole(response)
        finally:
            if idle.active():
                idle.cancel()
        if response.code >= 500 and response.code != 507:
            raise ServerUnreachable(
                f"{self.base_url} answered {response.code}: {_reason(text)}"
            )
        if response.code >= 400:
            raise self._refusal(response, text)
        return text

    async def _request(
        self,
        method: str,
        path: str,
        data: bytes | None,
        limit_s: float | None = None,
    ) -> tuple[Any, bytes]:
        """Return the answer and its body; 429 is tried again after the wait it names.

        A wait longer than C{limit_s} is the caller's to have, who is told of it.

        What only reads is asked again, too, when a server that has answered breaks
        off; a time-out is no such thing.
        """
        limit_s = self._limit_s if limit_s is None else limit_s
        repeats = REPEATS if method == "GET" and self._healthy else 0
        for attempt in range(RETRIES + 1):
            began_s = self.reactor.seconds()
            try:
                response, body = await self._once(method, path, data, limit_s)
            except ServerUnreachable:
                if attempt >= repeats or self.reactor.seconds() - began_s >= limit_s:
                    raise
                await deferLater(self.reactor, 0.2 * 2**attempt)
                continue
            wait_s = _retry_after(response, attempt)
            if response.code != 429 or attempt == RETRIES:
                return response, body
            if wait_s > limit_s:
                raise TooMany(
                    f"{self.base_url} got too many requests: {_reason(body)}; "
                    f"try again in {wait_s:g} s"
                )
            await deferLater(self.reactor, wait_s)
        raise AssertionError("the loop returns")

    async def _once(
        self, method: str, path: str, data: bytes | None, limit_s: float
    ) -> tuple[Any, bytes]:
        headers = self._headers()
        body = None
        if data is not None:
            headers.setRawHeaders("Content-Type", ["application/json"])
            body = FileBodyProducer(io.BytesIO(data))
        response = await self._send(method, path, headers, body, limit_s)
        reading = Deferred.fromCoroutine(whole(response))
        reading.addTimeout(limit_s, self.reactor)
        try:
            return response, await reading
        except defer.TimeoutError:
            raise ServerUnreachable(
                f"{self.base_url} stopped answering in the middle"
            ) from None

    async def _send(
        self,
        method: str,
        path: str,
        headers: Headers,
        body: IBodyProducer | None,
        limit_s: float | None,
    ) -> Any:
        """Return the answer when its head is there, within C{limit_s}."""
        try:
            url = wire_url(self.base_url) + path.encode()
            asking = self._agent.request(method.encode(), url, headers, body)
            if limit_s is not None:
                asking.addTimeout(limit_s, self.reactor)
            return await asking
        except HaloyError:
            raise
        except Exception as problem:  # connection and TLS errors have no common base
            raise ServerUnreachable(
                f"server not available at {self.base_url}: {why(problem, OWN_CA)}"
            ) from problem

    def _headers(self) -> Headers:
        return Headers(
            {"Authorization": [f"Bearer {self._token}"], "User-Agent": ["haloy-python"]}
        )

    def _refusal(self, response: Any, text: bytes) -> HaloyError:
        """Return the error that an answer tells; the server's rules have no status."""
        words = response.headers.getRawHeaders("X-Haloy-Error") or [""]
        if (response.code, words[0]) == (403, PolicyRefused.code):
            return PolicyRefused(_reason(text))
        problem = self._error(response.code, text)
        if words[0] == EngineUnavailable.code:
            problem.reason += f"; on {self.base_url}: systemctl status docker"
        return problem

    def _error(self, status: int, text: bytes) -> HaloyError:
        reason = _reason(text) or f"status {status}"
        if status == 401:
            return Unauthorized(
                f"authentication failed at {self.base_url}: check the token "
                "(`haloy server add`, or HALOY_API_TOKEN)"
            )
        if status == 429:
            return TooMany(f"{self.base_url} got too many requests: {reason}")
        if (status, reason) == (404, NO_ROUTE):
            return NotFound(
                f"the haloyd at {self.base_url} does not know this: it is older than "
                "this command, or another program"
            )
        kind = _ERRORS.get(status, HaloyError)
        return kind(reason)

    # --- streams ----------------------------------------------------------------------

    async def follow(
        self,
        path: str,
        is_last: Callable[[dict[str, Any]], bool],
        seen: str = "",
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield events until the last one; a broken stream is resumed.

        The attempts are counted anew after each event that arrives.

        @param seen: the number of the last event that is known already.
        """
        attempt = 0
        while attempt <= RESUMES:
            headers = Headers({"Last-Event-ID": [seen]} if seen else {})
            reader = EventReader()
            try:
                async for one in self.stream(path, headers, reader, _PASSING):
                    attempt = 0
                    yield one
                    seen = reader.last_id or seen
                    if is_last(one):
                        return
            except ServerUnreachable:
                if attempt == RESUMES:
                    raise
            await deferLater(self.reactor, 0.5 * 2**attempt)
            attempt += 1
        raise ServerUnreachable(
            "the log ended without saying how the deployment ended; see `haloy status`"
        )

    async def stream(
        self,
        path: str,
        extra: Headers,
        reader: EventReader | None = None,
        passing: Collection[int] = (),
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the events of one stream, to its end.

        @param passing: statuses that are taken for a server that cannot be reached.
        """
        reader = EventReader() if reader is None else reader
        headers = self._headers()
        headers.setRawHeaders("Accept", ["text/event-stream"])
        headers.setRawHeaders("Cache-Control", ["no-cache"])
        for name, values in extra.getAllRawHeaders():
            headers.setRawHeaders(name, values)
        response = await self._send("GET", path, headers, None, self._limit_s)
        if response.code != 200:
            problem = self._refusal(response, await whole(response))
            if response.code in passing:
                raise ServerUnreachable(str(problem)) from problem
            raise problem
        body = Pieces()
        response.deliverBody(body)
        try:
            while True:
                reading = Deferred.fromCoroutine(body.read())
                reading.addTimeout(STREAM_IDLE_S, self.reactor)
                try:
                    data = await reading
                except defer.TimeoutError:
                    raise ServerUnreachable(
                        f"{self.base_url} has sent nothing for {STREAM_IDLE_S:g} s"
                    ) from None
                if not data:
                    return
                for one in reader.feed(data):
                    if one is not None:
                        yield one
        finally:
            body.close()

    # --- what is no HTTP any more -----------------------------------------------------

    async def upgrade(
        self, method: str, path: str, headers: Mapping[str, str], protocol: IProtocol
    ) -> bytes:
        """Give the connection of a request to C{protocol} when it is upgraded.

        Returns the head of the answer.

        @raise HaloyError: the server refuses, in its words.
        """
        if self._endpoints is None:
            raise AssertionError("this transport was made for HTTP alone")
        uri = URI.fromBytes(wire_url(self.base_url) + path.encode())
        lines = [
            f"{method} {uri.originForm.decode()} HTTP/1.1",
            f"Host: {uri.netloc.decode()}",
            f"Authorization: Bearer {self._token}",
            "User-Agent: haloy-python",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        head = "".join(f"{line}\r\n" for line in [*lines, ""]).encode()
        endpoint = self._endpoints.endpointForURI(uri)
        return await upgrade(
            self.reactor, endpoint, head, self._limit_s, self._error, protocol
        )


def _reason(text: bytes) -> str:
    return text.decode(errors="replace").strip()


def json_object(text: bytes, base_url: str) -> dict[str, Any]:
    """Return the object in C{text}. @raise HaloyError: haloyd does not answer so."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise HaloyError(f"{base_url} does not answer like haloyd")
    return found


def _retry_after(response: Any, attempt: int) -> float:
    raw = (response.headers.getRawHeaders("Retry-After") or [""])[0]
    asked_s = float(raw) if raw.isascii() and raw.isdigit() and len(raw) < 4 else 0.0
    backoff_s: float = 0.3 * 2**attempt
    return max(asked_s, backoff_s)
