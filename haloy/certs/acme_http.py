"""Talking to an ACME server: the directory, nonces, signed requests, its errors.

Every failure is an L{AcmeError} with its kind; nothing else comes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Final, TypeVar

from attrs import define, field, frozen
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from haloy.certs.jose import AccountKey
from haloy.config.unreachable import why
from haloy.errors import HaloyError

REQUEST_LIMIT_S: Final = 30.0
BODY_LIMIT_BYTES: Final = 1 << 20
DIRECTORY_LIFE_S: Final = 86400.0
NONCE_TRIES: Final = 8
NONCES_KEPT: Final = 32
DETAIL_LIMIT: Final = 1000
DOCUMENT_LIMIT: Final = 4000

T = TypeVar("T")


@define(eq=False)
class AcmeError(HaloyError):
    """The CA, or the way to it, did not do what was asked.

    C{kind} is C{transport}, C{rate} (429, 503), C{rejected}, C{validation},
    C{timeout}, or C{dns} or C{disk} (not asked at all); C{problem} the last part of
    the problem's type (RFC 8555 section 6.7), as in C{accountDoesNotExist};
    C{document} the whole problem document as JSON, up to a limit.
    """

    code: ClassVar[str] = "acme"

    kind: str = "rejected"
    status: int = 0
    problem: str = ""
    retry_after_s: float | None = None
    document: str = ""


@frozen
class Answer:
    """An answer of the CA, its body whole."""

    status: int
    headers: Headers
    body: bytes

    def object(self) -> Mapping[str, Any]:
        """Return the body as a JSON object. @raise AcmeError: it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, Mapping):
            raise AcmeError("the CA's answer is not a JSON object")
        return found

    def header(self, name: str) -> str:
        """Return the first field called C{name}, C{""} without one."""
        return (self.headers.getRawHeaders(name) or [""])[0]

    def location(self) -> str:
        """Return where the thing asked for is. @raise AcmeError: it does not say."""
        found = self.header("Location")
        if not found:
            raise AcmeError("the CA's answer has no Location")
        return found


def text_at(document: Mapping[str, Any], key: str) -> str:
    """Return the text at C{key}. @raise AcmeError: there is none."""
    found = document.get(key)
    if not isinstance(found, str):
        raise AcmeError(f"the CA's answer has no {key!r}")
    return found


def list_at(document: Mapping[str, Any], key: str) -> list[Any]:
    """Return the list at C{key}. @raise AcmeError: there is none."""
    found = document.get(key)
    if not isinstance(found, list):
        raise AcmeError(f"the CA's answer has no {key!r}")
    return found


def object_at(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object at C{key}, an empty one without it."""
    found = document.get(key)
    return found if isinstance(found, Mapping) else {}


def problem_error(
    document: Mapping[str, Any], otherwise: str, kind: str = "rejected", name: str = ""
) -> AcmeError:
    """Return the error that a problem document (RFC 9457) describes."""
    detail = str(document.get("detail") or otherwise)[:DETAIL_LIMIT]
    subproblems = document.get("subproblems")
    parts = [
        str(one.get("detail"))[:DETAIL_LIMIT]
        for one in (subproblems if isinstance(subproblems, list) else ())
        if isinstance(one, Mapping) and one.get("detail")
    ]
    reason = "; ".join((detail, *parts[:10]))
    if name and name not in reason:
        reason = f"{name}: {reason}"
    problem = str(document.get("type") or "").rpartition(":")[2][:DETAIL_LIMIT]
    whole = json.dumps(dict(document))[:DOCUMENT_LIMIT] if document else ""
    return AcmeError(reason, kind=kind, problem=problem, document=whole)


def retry_after_s(value: str, now: datetime) -> float | None:
    """Return the seconds of C{Retry-After}: number or date (RFC 9110, 10.2.3)."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - now).total_seconds())


@define(eq=False)
class AcmeHttp:
    """Requests to one CA.

    @ivar _now: for a C{Retry-After} that is a date.
    """

    _reactor: Any
    _http: HTTPClient
    directory_url: str
    _now: Callable[[], datetime]
    _directory: Mapping[str, Any] = field(factory=dict, init=False)
    _until_s: float = field(default=0.0, init=False)
    _nonces: list[str] = field(factory=list, init=False)

    async def directory(self) -> Mapping[str, Any]:
        """Return what the CA offers; asked once a day."""
        if not self._directory or self._reactor.seconds() >= self._until_s:
            answer = await self.request("GET", self.directory_url, None)
            if answer.status != 200:
                raise self._error(answer)
            found = answer.object()
            missing = {"newNonce", "newAccount", "newOrder"} - found.keys()
            if missing:
                raise AcmeError(
                    f"{self.directory_url} is not an ACME v2 directory "
                    f"(no {', '.join(sorted(missing))})"
                )
            self._directory = found
            self._until_s = self._reactor.seconds() + DIRECTORY_LIFE_S
        return self._directory

    async def get(self, url: str) -> Answer:
        """Return the answer to a request without signature."""
        answer = await self.request("GET", url, None)
        if answer.status >= 400:
            raise self._error(answer)
        return answer

    async def post(
        self, url: str, payload: object | None, key: AccountKey, account_url: str
    ) -> Answer:
        """Return the answer to a signed request; a bad nonce is tried again.

        @param payload: C{None} is POST-as-GET.
        @param account_url: C{""} signs with the key itself (RFC 8555 section 6.2).
        """
        for _ in range(NONCE_TRIES):
            nonce = await self._nonce()
            who = {"kid": account_url} if account_url else {"jwk": key.public()}
            signed = key.sign({"nonce": nonce, "url": url, **who}, payload)
            answer = await self.request("POST", url, json.dumps(signed).encode())
            if answer.status < 400:
                return answer
            error = self._error(answer)
            if error.problem != "badNonce":
                raise error
        raise AcmeError(f"the CA refused {NONCE_TRIES} nonces in a row")

    async def _nonce(self) -> str:
        if not self._nonces:
            directory = await self.directory()
            await self.request("HEAD", text_at(directory, "newNonce"), None)
        if not self._nonces:
            raise AcmeError("the CA gives no Replay-Nonce")
        return self._nonces.pop()

    async def request(self, method: str, url: str, data: bytes | None) -> Answer:
        """Return the answer, whatever its status.

        @raise AcmeError: none came in time, or it is too large.
        """
        if not url.startswith("https://"):
            raise AcmeError(f"the CA names a URL without TLS: {url[:200]}")
        headers = Headers({"User-Agent": ["haloyd"]})
        if data is not None:
            headers.setRawHeaders("Content-Type", ["application/jose+json"])

        def late(_: object, limit_s: float) -> None:
            raise AcmeError(
                f"the CA at {url} did not answer in {limit_s:g} s", kind="transport"
            )

        try:
            asking = _given_up_plainly(
                self._http.request(method, url, headers=headers, data=data)
            )
            asking.addTimeout(REQUEST_LIMIT_S, self._reactor, late)
            response = await asking
            body = await self._body(response.original, late)
        except (AcmeError, CancelledError):
            raise
        except Exception as problem:  # connection and TLS errors of any kind
            told = why(problem, "acme.ca_file")
            raise AcmeError(
                f"the CA at {url} cannot be reached: {told}", kind="transport"
            ) from problem
        fresh = [one.strip() for one in response.headers.getRawHeaders(_NONCE, [])]
        self._nonces = (self._nonces + fresh)[-NONCES_KEPT:]
        return Answer(int(response.code), response.headers, body)

    def retry_after_s(self, answer: Answer) -> float | None:
        """Return how long the CA wants to be left alone."""
        return retry_after_s(answer.header("Retry-After"), self._now())

    async def _body(
        self, response: IResponse, late: Callable[[object, float], None]
    ) -> bytes:
        done: Deferred[bytes] = Deferred(lambda _: reading.stop())
        reading = _Reading(done)
        response.deliverBody(reading)
        whole = _given_up_plainly(done)
        whole.addTimeout(REQUEST_LIMIT_S, self._reactor, late)
        return await whole

    def _error(self, answer: Answer) -> AcmeError:
        try:
            document = answer.object()
        except AcmeError:
            text = answer.body[:200].decode("latin-1").strip()
            document = {"detail": f"HTTP {answer.status}: {text}"}
        error = problem_error(document, f"the CA answered {answer.status}")
        error.status = answer.status
        error.retry_after_s = self.retry_after_s(answer)
        if answer.status in {429, 503} or error.problem == "rateLimited":
            error.kind = "rate"
        return error


_NONCE: Final = "Replay-Nonce"


class _Reading(Protocol):
    """Collects a body up to the limit."""

    def __init__(self, done: Deferred[bytes]) -> None:
        self._done = done
        self._parts: list[bytes] = []
        self._size_bytes = 0

    def dataReceived(self, data: bytes) -> None:
        """Take more of it."""
        self._size_bytes += len(data)
        self._parts.append(data)
        if self._size_bytes > BODY_LIMIT_BYTES:
            self._end(AcmeError("the CA's answer is larger than 1 MiB"))
            self.stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over what has come."""
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end(b"".join(self._parts))
        else:
            self._end(reason)

    def stop(self) -> None:
        """Read no more."""
        if self.transport is not None:
            self.transport.loseConnection()

    def _end(self, result: bytes | Failure | Exception) -> None:
        if not self._done.called:
            if isinstance(result, bytes):
                self._done.callback(result)
            else:
                self._done.errback(result)


def _given_up_plainly(asked: Deferred[T]) -> Deferred[T]:
    """Return what C{asked} gives; cancelled, it fails with L{CancelledError}.

    What Twisted makes of a cancelled request depends on how far it was: a name that
    was being looked up "cannot be found", a connection "was closed".
    """

    def cancel(given: Deferred[T]) -> None:
        given.errback(CancelledError())
        asked.cancel()

    def give(result: T | Failure) -> None:
        if not given.called:
            given.callback(result)

    given: Deferred[T] = Deferred(cancel)
    asked.addBoth(give)
    return given
