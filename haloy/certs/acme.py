"""An ACME v2 client (RFC 8555): account, order, challenges, certificate.

Knows the protocol and nothing of when to order or where to keep things. Every
failure is an L{AcmeError} with its kind; nothing else comes out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric import ec
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import deferLater
from twisted.web.client import readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from haloy.certs.interface import Presenter
from haloy.certs.jose import AccountKey, signing_request
from haloy.errors import HaloyError
from haloy.model.certificate import Challenge, ChallengeKind
from haloy.model.names import DomainName

REQUEST_LIMIT_S = 30.0
BODY_LIMIT_BYTES = 1 << 20
NONCE_TRIES = 8
NONCES_KEPT = 32
ORDER_LIMIT_S = 300.0
FIRST_POLL_S = 0.5
LONGEST_POLL_S = 10.0
LONGEST_RETRY_AFTER_S = 60.0

_FINAL = frozenset({"valid", "invalid", "deactivated", "expired", "revoked"})


@define(eq=False)
class AcmeError(HaloyError):
    """The CA, or the way to it, did not do what was asked.

    C{kind} is C{transport}, C{rate} (429, 503), C{rejected}, C{validation} or
    C{timeout}; C{problem} the last part of the problem's type (RFC 8555 6.7), as
    in C{accountDoesNotExist}.
    """

    code = "acme"

    kind: str = "rejected"
    status: int = 0
    problem: str = ""
    retry_after_s: float | None = None


@frozen
class Order:
    """An order and where it is."""

    url: str
    body: Mapping[str, Any]


@define(eq=False)
class AcmeClient:
    """One account at one CA.

    @ivar _now: for a C{Retry-After} that is a date.
    @ivar account_url: set by L{register}, or known from before.
    """

    _reactor: Any
    _agent: IAgent
    _directory_url: str
    key: AccountKey
    _now: Callable[[], datetime]
    account_url: str = ""
    _directory: dict[str, Any] = field(factory=dict, init=False)
    _nonces: list[str] = field(factory=list, init=False)
    _http: HTTPClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Speak HTTP by treq."""
        self._http = HTTPClient(self._agent)

    # --- account -------------------------------------------------------------------

    async def register(self, email: str) -> None:
        """Find the account of our key, or make one; the terms are agreed to."""
        directory = await self._start()
        try:
            response, _ = await self._post(
                directory["newAccount"], {"onlyReturnExisting": True}, by_key=True
            )
        except AcmeError as problem:
            if problem.problem != "accountDoesNotExist":
                raise
            if directory.get("meta", {}).get("externalAccountRequired"):
                raise AcmeError(
                    "the CA wants an external account binding, which is not set up"
                ) from problem
            contact = [f"mailto:{email}"] if email else []
            response, _ = await self._post(
                directory["newAccount"],
                {"termsOfServiceAgreed": True, "contact": contact},
                by_key=True,
            )
        self.account_url = _location(response)

    # --- ordering --------------------------------------------------------------------

    async def obtain(
        self,
        names: tuple[DomainName, ...],
        key: ec.EllipticCurvePrivateKey,
        presenter: Presenter,
    ) -> bytes:
        """Return the chain of a new certificate for C{names}, PEM, leaf first.

        Cancelling withdraws the challenges that are presented.
        """
        directory = await self._start()
        deadline = self._reactor.seconds() + ORDER_LIMIT_S
        identifiers = [{"type": "dns", "value": name} for name in names]
        response, body = await self._post(
            directory["newOrder"], {"identifiers": identifiers}
        )
        order = Order(_location(response), _object(body))
        await self._authorize_all(order, presenter, deadline)
        ready = await self._poll(order.url, {"ready", "valid", "invalid"}, deadline)
        if ready["status"] == "ready":
            await self._post(ready["finalize"], {"csr": signing_request(key, names)})
        done = await self._poll(order.url, {"valid", "invalid"}, deadline)
        if done["status"] != "valid":
            raise _problem(done.get("error") or {}, "the CA did not issue")
        _, chain = await self._post(done["certificate"], None)
        return chain

    async def _authorize_all(
        self, order: Order, presenter: Presenter, deadline: float
    ) -> None:
        """Prove control of every name; the first failure ends the others."""
        running = [
            Deferred.fromCoroutine(self._authorize(url, presenter, deadline))
            for url in order.body["authorizations"]
        ]
        together = DeferredList(running, fireOnOneErrback=True, consumeErrors=True)
        try:
            await together
        except BaseException as problem:
            for one in running:
                one.cancel()
            await DeferredList(running, consumeErrors=True)
            cause = getattr(problem, "subFailure", None)
            if cause is not None:
                raise cause.value from None
            raise

    async def _authorize(self, url: str, presenter: Presenter, deadline: float) -> None:
        _, body = await self._post(url, None)
        authorization = _object(body)
        if authorization["status"] == "valid":
            return
        name = DomainName(authorization["identifier"]["value"])
        offered = {one["type"]: one for one in authorization["challenges"]}
        found = offered.get(ChallengeKind.HTTP_01.value)
        if found is None:
            raise AcmeError(
                f"{name}: the CA offers {', '.join(sorted(offered))} only, "
                "and we answer http-01"
            )
        challenge = Challenge(
            ChallengeKind.HTTP_01,
            name,
            found["token"],
            f"{found['token']}.{self.key.thumbprint()}",
        )
        await presenter.present(challenge)
        try:
            await self._post(found["url"], {})
            done = await self._poll(url, _FINAL, deadline)
        finally:
            await presenter.withdraw(challenge)
        if done["status"] != "valid":
            errors = [one["error"] for one in done["challenges"] if one.get("error")]
            raise _problem(
                next(iter(errors), {}), f"{name}: {done['status']}", "validation", name
            )

    async def _poll(
        self, url: str, until: frozenset[str] | set[str], deadline: float
    ) -> Mapping[str, Any]:
        """Ask C{url} until its status is in C{until}, as the CA wants it paced."""
        wait_s = FIRST_POLL_S
        while True:
            response, text = await self._post(url, None)
            body = _object(text)
            if body.get("status") in until:
                return body
            asked_s = self._retry_after(response)
            pause_s = wait_s if asked_s is None else min(asked_s, LONGEST_RETRY_AFTER_S)
            left_s = deadline - self._reactor.seconds()
            if left_s <= 0:
                raise AcmeError(
                    f"the CA is still at {body.get('status')!r} after "
                    f"{ORDER_LIMIT_S:g} s",
                    kind="timeout",
                )
            await deferLater(self._reactor, min(max(pause_s, 0.25), left_s + 0.01))
            wait_s = min(wait_s * 1.6, LONGEST_POLL_S)

    # --- HTTP ----------------------------------------------------------------------

    async def _start(self) -> dict[str, Any]:
        if not self._directory:
            response, body = await self._request("GET", self._directory_url, None)
            if response.code != 200:
                raise self._error(response, body)
            directory = dict(_object(body))
            missing = {"newNonce", "newAccount", "newOrder"} - directory.keys()
            if missing:
                raise AcmeError(
                    f"{self._directory_url} is not an ACME v2 directory "
                    f"(no {', '.join(sorted(missing))})"
                )
            self._directory = directory
        return self._directory

    async def _post(
        self, url: str, payload: object | None, *, by_key: bool = False
    ) -> tuple[IResponse, bytes]:
        """Return the answer to a signed request; a bad nonce is tried again."""
        directory = await self._start()
        for _ in range(NONCE_TRIES):
            if not self._nonces:
                await self._request("HEAD", directory["newNonce"], None)
            if not self._nonces:
                raise AcmeError("the CA gives no Replay-Nonce")
            who = {"jwk": self.key.public()} if by_key else {"kid": self.account_url}
            protected = {"nonce": self._nonces.pop(), "url": url, **who}
            signed = self.key.sign(protected, payload)
            response, body = await self._request("POST", url, signed)
            if response.code < 400:
                return response, body
            problem = self._error(response, body)
            if problem.problem != "badNonce":
                raise problem
        raise AcmeError(f"the CA refused {NONCE_TRIES} nonces in a row")

    async def _request(
        self, method: str, url: str, data: bytes | None
    ) -> tuple[IResponse, bytes]:
        if not url.startswith("https://"):
            raise AcmeError(f"the CA names a URL without TLS: {url}")
        headers = Headers({"User-Agent": ["haloyd"]})
        if data is not None:
            headers.setRawHeaders("Content-Type", ["application/jose+json"])
        try:
            response = await self._http.request(
                method, url, headers=headers, data=data, timeout=REQUEST_LIMIT_S
            )
            body = await self._body(response.original)
        except AcmeError:
            raise
        except Exception as problem:  # connection, TLS and time-out errors of any kind
            raise AcmeError(
                f"the CA at {url} cannot be reached: {_told(problem)}", kind="transport"
            ) from problem
        fresh = response.headers.getRawHeaders("Replay-Nonce") or []
        self._nonces = (self._nonces + fresh)[-NONCES_KEPT:]
        return response, body

    async def _body(self, response: IResponse) -> bytes:
        length = response.length
        if isinstance(length, int) and length > BODY_LIMIT_BYTES:
            raise AcmeError("the CA's answer is larger than 1 MiB")
        reading: Deferred[bytes] = readBody(response)
        reading.addTimeout(REQUEST_LIMIT_S, self._reactor)
        body = await reading
        if len(body) > BODY_LIMIT_BYTES:
            raise AcmeError("the CA's answer is larger than 1 MiB")
        return body

    def _error(self, response: IResponse, body: bytes) -> AcmeError:
        try:
            document = _object(body)
        except AcmeError:
            document = {"detail": body[:200].decode("latin-1").strip()}
        status = int(response.code)
        error = _problem(document, f"the CA answered {status}")
        error.status = status
        error.retry_after_s = self._retry_after(response)
        if status in {429, 503} or error.problem == "rateLimited":
            error.kind = "rate"
        return error

    def _retry_after(self, response: IResponse) -> float | None:
        """Return the seconds of C{Retry-After}: number or date (RFC 9110 10.2.3)."""
        raw = (response.headers.getRawHeaders("Retry-After") or [""])[0].strip()
        if raw.isascii() and raw.isdigit():
            return float(raw[:9])
        try:
            at = parsedate_to_datetime(raw)
        except (TypeError, ValueError):
            return None
        return max(0.0, (at - self._now()).total_seconds())


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, Mapping):
        raise AcmeError("the CA's answer is not a JSON object")
    return found


def _location(response: IResponse) -> str:
    found = response.headers.getRawHeaders("Location")
    if not found:
        raise AcmeError("the CA's answer has no Location")
    return str(found[0])


def _problem(
    document: Mapping[str, Any], otherwise: str, kind: str = "rejected", name: str = ""
) -> AcmeError:
    detail = str(document.get("detail") or otherwise)
    reason = f"{name}: {detail}" if name and name not in detail else detail
    return AcmeError(
        reason, kind=kind, problem=str(document.get("type") or "").rpartition(":")[2]
    )


def _told(problem: Exception) -> str:
    reasons = getattr(problem, "reasons", None)
    if reasons:
        return "; ".join(one.getErrorMessage() for one in reasons)
    return str(problem) or type(problem).__name__
