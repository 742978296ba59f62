"""An ACME v2 client (RFC 8555): account, order, challenges, certificate.

Knows the protocol and nothing of when to order or where to keep things. Every
failure is an L{AcmeError} with its kind; nothing else comes out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred, DeferredList, FirstError
from twisted.internet.task import deferLater

from haloy.certs.acme_http import (
    AcmeError,
    AcmeHttp,
    Answer,
    list_at,
    object_at,
    problem_error,
    text_at,
)
from haloy.certs.challenge import make_challenge, preferred
from haloy.certs.jose import (
    AccountKey,
    external_binding,
    renewal_identifier,
    signing_request,
)
from haloy.model.certificate import Challenge, ChallengeKind, Secret
from haloy.model.names import DomainName

__all__ = ["AcmeClient", "AcmeError", "Binding", "OrderWish", "Solver", "Suggestion"]

ORDER_LIMIT_S: Final = 300.0
FIRST_POLL_S: Final = 0.25
LONGEST_POLL_S: Final = 10.0
LONGEST_RETRY_AFTER_S: Final = 60.0
#: How often a renewal window is asked for when the CA does not say (RFC 9773 4.3.2).
WINDOW_LIFE_S: Final = 6 * 3600.0
WINDOW_LIFE_LIMITS_S: Final = (60.0, 86400.0)

_FINAL: Final = frozenset({"valid", "invalid", "deactivated", "expired", "revoked"})


@frozen
class Binding:
    """An account outside that a new one is bound to (RFC 8555 section 7.3.4)."""

    kid: str
    mac_key: Secret


@frozen
class Suggestion:
    """When the CA wants a certificate renewed, and when to ask again."""

    start: datetime
    end: datetime
    ask_again: datetime


@frozen
class Solver:
    """Who shows challenges to the CA, and which kinds, the preferred one first."""

    kinds: tuple[ChallengeKind, ...]
    present: Callable[[Challenge], Awaitable[None]]
    withdraw: Callable[[Challenge], Awaitable[None]]


@frozen
class OrderWish:
    """What to order: C{replaces} is the certificate that the new one comes for."""

    names: tuple[DomainName, ...]
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    profile: str = ""
    replaces: x509.Certificate | None = None


@define(eq=False)
class AcmeClient:
    """One account at one CA.

    @ivar account_url: C{""} until it is known.
    """

    _reactor: Any
    _http: AcmeHttp
    key: AccountKey
    _now: Callable[[], datetime]
    account_url: str = ""

    @property
    def directory_url(self) -> str:
        """The CA's directory."""
        return self._http.directory_url

    # --- account -------------------------------------------------------------------

    async def register(self, email: str, binding: Binding | None = None) -> None:
        """Find the account of our key, or make one; the terms are agreed to.

        An account that exists needs no C{binding}.
        """
        directory = await self._http.directory()
        url = text_at(directory, "newAccount")
        try:
            answer = await self._http.post(
                url, {"onlyReturnExisting": True}, self.key, ""
            )
        except AcmeError as problem:
            if problem.problem != "accountDoesNotExist":
                raise
            payload: dict[str, Any] = {
                "termsOfServiceAgreed": True,
                "contact": [f"mailto:{email}"] if email else [],
            }
            if binding is not None:
                payload["externalAccountBinding"] = external_binding(
                    binding.kid, binding.mac_key.value, url, self.key.public()
                )
            elif object_at(directory, "meta").get("externalAccountRequired"):
                raise AcmeError(
                    "the CA requires an external account binding; set acme.eab",
                    problem="externalAccountRequired",
                ) from problem
            answer = await self._http.post(url, payload, self.key, "")
        self.account_url = answer.location()

    # --- ordering --------------------------------------------------------------------

    async def obtain(self, wish: OrderWish, solver: Solver) -> bytes:
        """Return the chain of a new certificate, PEM, leaf first.

        Cancelling withdraws the challenges that are presented.
        """
        deadline_s = self._reactor.seconds() + ORDER_LIMIT_S
        order = await self._new_order(wish)
        url, body = order.location(), order.object()
        if body.get("status") == "pending":
            urls = list_at(body, "authorizations")
            if len(urls) > len(wish.names):
                raise AcmeError("the CA asks for more proofs than the order has names")
            await self._authorize_all(urls, wish.names, solver, deadline_s)
        done = await self._poll(url, {"ready", "valid", "invalid"}, deadline_s)
        if done["status"] == "ready":
            request = {"csr": signing_request(wish.key, wish.names)}
            await self._post(text_at(done, "finalize"), request)
            done = await self._poll(url, {"valid", "invalid"}, deadline_s)
        if done["status"] != "valid":
            raise problem_error(object_at(done, "error"), "the CA did not issue")
        answer = await self._post(text_at(done, "certificate"), None)
        return answer.body

    async def _new_order(self, wish: OrderWish) -> Answer:
        directory = await self._http.directory()
        payload: dict[str, Any] = {
            "identifiers": [{"type": "dns", "value": name} for name in wish.names]
        }
        if wish.profile and wish.profile in object_at(
            object_at(directory, "meta"), "profiles"
        ):
            payload["profile"] = wish.profile
        if wish.replaces is not None and "renewalInfo" in directory:
            payload["replaces"] = renewal_identifier(wish.replaces)
        url = text_at(directory, "newOrder")
        try:
            return await self._post(url, payload)
        except AcmeError as problem:
            # The CA does not know it, or another order has replaced it already.
            if "replaces" not in payload or problem.status not in {400, 404, 409}:
                raise
            del payload["replaces"]
            return await self._post(url, payload)

    async def _authorize_all(
        self,
        urls: Sequence[Any],
        names: tuple[DomainName, ...],
        solver: Solver,
        deadline_s: float,
    ) -> None:
        """Prove control of every name; the first failure ends the others."""
        running = [
            Deferred.fromCoroutine(self._authorize(str(url), names, solver, deadline_s))
            for url in urls
        ]
        together = DeferredList(running, fireOnOneErrback=True, consumeErrors=True)
        try:
            await together
        except FirstError as first:
            first.subFailure.raiseException()
        finally:
            for one in running:
                one.cancel()
            await DeferredList(running, consumeErrors=True)

    async def _authorize(
        self, url: str, names: tuple[DomainName, ...], solver: Solver, deadline_s: float
    ) -> None:
        authorization = (await self._post(url, None)).object()
        if authorization.get("status") == "valid":
            return
        name = DomainName(text_at(object_at(authorization, "identifier"), "value"))
        if name not in {one.removeprefix("*.") for one in names}:
            # What is shown for it goes into DNS and to commands.
            raise AcmeError("the CA asks for proof of a name that was not ordered")
        offered = [
            one
            for one in list_at(authorization, "challenges")
            if isinstance(one, Mapping)
        ]
        found = preferred(offered, _fitting(solver.kinds, authorization))
        if found is None:
            known = ", ".join(sorted(str(one.get("type")) for one in offered))
            raise AcmeError(f"{name}: the CA offers {known} only, none is set up here")
        kind, offer = found
        token = text_at(offer, "token")
        challenge = make_challenge(
            kind, name, token, f"{token}.{self.key.thumbprint()}", self._now()
        )
        try:
            await solver.present(challenge)
            await self._post(text_at(offer, "url"), {})
            done = await self._poll(url, _FINAL, deadline_s)
        finally:
            await solver.withdraw(challenge)
        if done["status"] != "valid":
            errors = [
                object_at(one, "error")
                for one in list_at(done, "challenges")
                if isinstance(one, Mapping)
            ]
            raise problem_error(
                next(filter(None, errors), {}),
                f"the CA says {done['status']}",
                "validation",
                name,
            )

    async def _poll(
        self, url: str, until: frozenset[str] | set[str], deadline_s: float
    ) -> Mapping[str, Any]:
        """Ask C{url} until its status is in C{until}, as the CA wants it paced."""
        wait_s = FIRST_POLL_S
        while True:
            answer = await self._post(url, None)
            body = answer.object()
            if body.get("status") in until:
                return body
            asked_s = self._http.retry_after_s(answer)
            pause_s = wait_s if asked_s is None else min(asked_s, LONGEST_RETRY_AFTER_S)
            left_s = deadline_s - self._reactor.seconds()
            if left_s <= 0:
                raise AcmeError(
                    f"the CA is still at {body.get('status')!r} after "
                    f"{ORDER_LIMIT_S:g} s",
                    kind="timeout",
                )
            # A last try at the limit itself.
            await deferLater(self._reactor, min(max(pause_s, 0.25), left_s + 0.01))
            wait_s = min(wait_s * 1.6, LONGEST_POLL_S)

    async def _post(self, url: str, payload: object | None) -> Answer:
        return await self._http.post(url, payload, self.key, self.account_url)

    # --- renewal information ---------------------------------------------------------

    async def suggestion(self, certificate: x509.Certificate) -> Suggestion | None:
        """Return when the CA wants C{certificate} renewed (RFC 9773).

        C{None}: it makes no suggestions. The instants may be in the past: at once.
        """
        directory = await self._http.directory()
        if "renewalInfo" not in directory:
            return None
        try:
            name = renewal_identifier(certificate)
        except ValueError:
            return None
        answer = await self._http.get(f"{text_at(directory, 'renewalInfo')}/{name}")
        window = object_at(answer.object(), "suggestedWindow")
        start, end = (_instant(text_at(window, key)) for key in ("start", "end"))
        if end <= start:
            raise AcmeError("the CA suggests a window that ends before it starts")
        least_s, most_s = WINDOW_LIFE_LIMITS_S
        asked_s = self._http.retry_after_s(answer) or WINDOW_LIFE_S
        again = timedelta(seconds=min(max(asked_s, least_s), most_s))
        return Suggestion(start, end, self._now() + again)


def _fitting(
    kinds: Sequence[ChallengeKind], authorization: Mapping[str, Any]
) -> tuple[ChallengeKind, ...]:
    """Return the C{kinds} that can prove it: wildcards by DNS-01 only."""
    if not authorization.get("wildcard"):
        return tuple(kinds)
    return tuple(kind for kind in kinds if kind is ChallengeKind.DNS_01)


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise AcmeError(f"the CA names {text[:40]!r} as an instant")
    return found
