"""Certificate authorities in memory.

L{FakeCa} speaks ACME over L{treq.testing.StubTreq}, with a script of
what to answer instead; L{FakeAuthority} issues what it is asked for, or what a test
says.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from attrs import define, evolve, field
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from haloy.certs.acme import Solver, Suggestion
from haloy.certs.pem import parse_pem
from haloy.model.certificate import Certificate, Challenge
from haloy.model.names import DomainName
from tests.support.certificates import DAY, NOW, make_pem, sign

BASE = "https://ca.example"
DIRECTORY = f"{BASE}/dir"
HANG = "hang"


def problem(status: int, kind: str, detail: str = "no", **headers: str) -> Scripted:
    """Return a problem document as an answer."""
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}
    return Scripted(status, json.dumps(body).encode(), headers)


@define
class Scripted:
    """An answer out of turn."""

    status: int
    body: bytes
    headers: dict[str, str] = field(factory=dict)


@define
class Call:
    """A request, its payload decoded."""

    method: str
    path: str
    protected: dict[str, Any]
    payload: Any


@implementer(IResource)
class FakeCa(Resource):
    """A CA that believes everything.

    @ivar script: by the first part of the path, what to answer instead, one after
        the other; C{None} lets one pass, C{HANG} never answers.
    @ivar kept: whether the last entry of a script stays.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []
        self.script: dict[str, list[Scripted | str | None]] = {}
        self.kept = False
        self.meta: dict[str, Any] = {}
        self.extra: dict[str, str] = {}
        self.accounts = 0
        self.registered = False
        self.valid_at_once = False
        self.order: dict[str, Any] = {}
        self.orders = 0
        self.life = 90 * DAY
        self.now = NOW
        self._nonces = 0
        self._chain = b""
        self.window: dict[str, Any] = {}
        self.wildcard = False

    def client(self) -> Any:
        """Return what stands for treq's client."""
        return StubTreq(self)

    def paths(self, method: str = "POST") -> list[str]:
        return [call.path for call in self.calls if call.method == method]

    def payloads(self, path: str) -> list[Any]:
        return [call.payload for call in self.calls if call.path == path]

    def render(self, request: Any) -> Any:
        path = request.path.decode()
        text = request.content.read()
        signed = json.loads(text) if text else {}
        self.calls.append(
            Call(
                request.method.decode(),
                path,
                _decoded(signed.get("protected", "")),
                _decoded(signed.get("payload", "")),
            )
        )
        self._nonces += 1
        request.setHeader("Replay-Nonce", f"nonce-{self._nonces}")
        kind = path.split("/")[1]
        steps = self.script.get(kind)
        if steps:
            step = steps[0] if self.kept and len(steps) == 1 else steps.pop(0)
            if step == HANG:
                return NOT_DONE_YET
            if isinstance(step, Scripted):
                request.setResponseCode(step.status)
                for name, value in step.headers.items():
                    request.setHeader(name.replace("_", "-"), value)
                return step.body
        answer: Callable[[Any], Any] = getattr(self, f"_{kind}", self._unknown)
        body = answer(request)
        return body if isinstance(body, bytes) else json.dumps(body).encode()

    def _dir(self, request: Any) -> Any:
        return {
            "newNonce": f"{BASE}/nonce",
            "newAccount": f"{BASE}/account",
            "newOrder": f"{BASE}/order",
            "revokeCert": f"{BASE}/revoke",
            "keyChange": f"{BASE}/key",
            "meta": self.meta,
            **self.extra,
        }

    def _nonce(self, request: Any) -> Any:
        return b""

    def _account(self, request: Any) -> Any:
        payload = self.calls[-1].payload
        if payload.get("onlyReturnExisting") and not self.registered:
            request.setResponseCode(400)
            return {"type": "urn:ietf:params:acme:error:accountDoesNotExist"}
        if not payload.get("onlyReturnExisting"):
            self.registered = True
            self.accounts += 1
            request.setResponseCode(201)
        request.setHeader("Location", f"{BASE}/account/1")
        return {"status": "valid"}

    def _order(self, request: Any) -> Any:
        call = self.calls[-1]
        if call.path == "/order":
            self.orders += 1
            names = [one["value"] for one in call.payload["identifiers"]]
            self.order = {
                "status": "pending",
                "names": names,
                "authorizations": [f"{BASE}/authz/{name}" for name in names],
                "finalize": f"{BASE}/finalize",
                "certificate": f"{BASE}/certificate",
            }
            request.setResponseCode(201)
        elif self.order.get("status") == "pending":
            self.order["status"] = "ready"
        request.setHeader("Location", f"{BASE}/order/1")
        return self.order

    def _authz(self, request: Any) -> Any:
        name = request.path.decode().rpartition("/")[2]
        answered = f"/challenge/{name}" in self.paths()
        done = answered or self.valid_at_once
        return {
            "status": "valid" if done else "pending",
            "identifier": {"type": "dns", "value": name},
            "wildcard": self.wildcard,
            "challenges": [
                {
                    "type": kind,
                    "token": f"token-{name}",
                    "url": f"{BASE}/challenge/{name}",
                    "status": "pending",
                }
                for kind in ("http-01", "tls-alpn-01", "dns-01")
            ],
        }

    def _challenge(self, request: Any) -> Any:
        return {"status": "processing"}

    def _finalize(self, request: Any) -> Any:
        der = base64.urlsafe_b64decode(self.calls[-1].payload["csr"] + "==")
        key = x509.load_der_x509_csr(der).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        made = sign(tuple(self.order["names"]), key, self.now, self.life)
        self._chain = made.public_bytes(serialization.Encoding.PEM)
        self.order["status"] = "valid"
        return self.order

    def _certificate(self, request: Any) -> Any:
        return self._chain

    def _info(self, request: Any) -> Any:
        request.setHeader("Retry-After", "21600")
        return {"suggestedWindow": self.window}

    def _key(self, request: Any) -> Any:
        return {}

    def _revoke(self, request: Any) -> Any:
        return b""

    def _unknown(self, request: Any) -> Any:
        request.setResponseCode(404)
        return {}


def _decoded(text: str) -> Any:
    """Return what a part of a JWS says, C{{}} for an empty one."""
    return json.loads(base64.urlsafe_b64decode(text + "==") or b"{}") if text else {}


@define(eq=False)
class FakeAuthority:
    """Issues at once.

    @ivar answers: raised or awaited instead, one after the other, by name.
    @ivar orders: the names of each order, and when.
    """

    now: Callable[[], datetime]
    directory: str = DIRECTORY
    life: timedelta = 90 * DAY
    answers: dict[str, list[Exception | Deferred[None]]] = field(factory=dict)
    always: dict[str, Exception] = field(factory=dict)
    orders: list[tuple[datetime, tuple[DomainName, ...]]] = field(factory=list)
    replaced: list[Certificate | None] = field(factory=list)
    kinds: list[tuple[Any, ...]] = field(factory=list)
    suggestions: list[Suggestion | Exception | None] = field(factory=list)
    asked: list[DomainName] = field(factory=list)
    under_way: int = 0
    most_under_way: int = 0

    async def order(
        self,
        names: tuple[DomainName, ...],
        solver: Solver,
        replaces: Certificate | None,
    ) -> Certificate:
        self.orders.append((self.now(), names))
        self.replaced.append(replaces)
        self.kinds.append(solver.kinds)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        challenge = Challenge(solver.kinds[0], names[0], "token", "token.print")
        try:
            if names[0] in self.always:
                raise self.always[names[0]]
            waiting = self.answers.get(names[0])
            if waiting:
                step = waiting.pop(0)
                if isinstance(step, Exception):
                    raise step
                await solver.present(challenge)
                try:
                    await step
                finally:
                    await solver.withdraw(challenge)
        finally:
            self.under_way -= 1
        made = parse_pem(names[0], make_pem(*names, since=self.now(), life=self.life))
        return evolve(made, manual=False, directory=self.directory)

    async def suggestion(self, certificate: Certificate) -> Suggestion | None:
        self.asked.append(certificate.name)
        found = self.suggestions.pop(0) if self.suggestions else None
        if isinstance(found, Exception):
            raise found
        return found
