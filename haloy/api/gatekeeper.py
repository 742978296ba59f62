"""Who may call what: tokens, scopes, limits, and the trail of what was done.

The token of C{.env} (C{HALOY_API_TOKEN}) is an admin under the name C{env}; others
are named, hashed, scoped, and may be limited to apps. All of them are in memory:
asking who calls costs no look into the database.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from haloy.api.answers import SECURITY
from haloy.api.auth import (
    FailureLimit,
    RateLimit,
    bearer_token,
    token_hash,
)
from haloy.errors import Conflict, Forbidden, HaloyError, NotFound, Unauthorized
from haloy.model.token import AuditEntry, Token
from haloy.store import tokens as rows
from haloy.store.database import Database
from haloy.tasks import Tasks

ENV_TOKEN = "env"  # noqa: S105  (a name, not a token)
RATE, BURST = 5.0, 10.0
LAYER_RATE, LAYER_BURST = 50.0, 100.0
TOUCH_EVERY = timedelta(minutes=1)


#: Given how to end something, keeps that, and returns how to forget it again.
Lease = Callable[[Callable[[], None]], Callable[[], None]]


@frozen
class Caller:
    """Who calls: the token's name, what it may, and the address it came from."""

    name: str
    address: str
    scopes: frozenset[str]
    apps: frozenset[str]
    expires_at: datetime | None = None

    def may(self, scope: str, app: str | None) -> bool:
        """Return whether C{scope} is allowed, for C{app} when one is meant.

        An admin may everything; deploying and executing include reading.
        """
        if self.apps and (app is None or app not in self.apps):
            return False
        allowed = self.scopes | (
            {"read"} if self.scopes & {"deploy", "exec"} else set()
        )
        return "admin" in allowed or scope in allowed

    def require(self, scope: str, app: str | None = None) -> None:
        """@raise Forbidden: C{scope} is not allowed, for C{app} when one is meant."""
        if not self.may(scope, app):
            what = f"{scope} for app {app}" if app else f"{scope} for the whole server"
            raise Forbidden(f"token {self.name} does not allow {what}")

    def sees(self, app: str) -> bool:
        """Return whether an app may be shown."""
        return self.may("read", app)


@define(eq=False)
class Gatekeeper:
    """Authenticates, limits, and keeps the trail."""

    _database: Database
    _reactor: Any
    _now: Callable[[], datetime]
    _env_hash: bytes
    _log: Logger = field(factory=Logger, init=False)
    _tokens: dict[bytes, Token] = field(factory=dict, init=False)
    _touched: dict[str, datetime] = field(factory=dict, init=False)
    _failures: FailureLimit = field(factory=FailureLimit, init=False)
    _rate: RateLimit = field(factory=lambda: RateLimit(RATE, BURST), init=False)
    _layer_rate: RateLimit = field(
        factory=lambda: RateLimit(LAYER_RATE, LAYER_BURST), init=False
    )
    _leases: dict[str, list[Callable[[], None]]] = field(factory=dict, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own what is written beside a call."""
        self._tasks = Tasks(self._log)

    async def load(self) -> None:
        """Read the tokens."""
        found = await self._database.run(rows.tokens)
        self._tokens = {one.hash: one for one in found if one.revoked_at is None}

    # --- who calls --------------------------------------------------------------

    def known(self, request: Any) -> bool:
        """Return whether a request carries a valid token; counts nothing."""
        return self._find(request, "") is not None

    def admit(
        self, request: Any, scope: str, app: str | None = None, *, layers: bool = False
    ) -> Caller:
        """Return who calls, if it may. See L{authenticate} and L{Caller.require}."""
        caller = self.authenticate(request, layers=layers)
        caller.require(scope, app)
        return caller

    def admit_some(self, request: Any, scope: str, *, layers: bool = False) -> Caller:
        """Return who calls, if it may for some app; which one is known later.

        So a body is never looked at for who may not send any.
        """
        caller = self.authenticate(request, layers=layers)
        caller.require(scope, next(iter(sorted(caller.apps)), None))
        return caller

    def authenticate(self, request: Any, *, layers: bool = False) -> Caller:
        """Return who calls, whatever it may.

        @param layers: count against the wider limit of layer uploads.
        @raise Unauthorized: no valid token; one text for every reason.
        @raise TooMany: too many calls, or too many failures from the address.
        """
        for name, value in SECURITY.items():
            if not request.responseHeaders.hasHeader(name):  # a stream has its own
                request.setHeader(name, value)
        address = client_address(request)
        now_s = self._reactor.seconds()
        caller = self._find(request, address)
        if caller is None:
            self._failures.check(address, now_s)
            self._failures.failed(address, now_s)
            raise Unauthorized("authentication failed: a valid bearer token is needed")
        (self._layer_rate if layers else self._rate).take(caller.name, now_s)
        return caller

    def _find(self, request: Any, address: str) -> Caller | None:
        try:
            hashed = token_hash(bearer_token(request.getHeader("Authorization")))
        except Unauthorized:
            return None
        # The env token is compared in equal time; others are found by their hash,
        # which tells nothing of a token that is not known.
        if secrets.compare_digest(hashed, self._env_hash):
            return Caller(ENV_TOKEN, address, frozenset({"admin"}), frozenset())
        token = self._tokens.get(hashed)
        if token is None or (token.expires_at and token.expires_at <= self._now()):
            return None
        self._touch(token.name)
        return Caller(
            token.name,
            address,
            frozenset(token.scopes),
            frozenset(token.apps),
            token.expires_at,
        )

    def _touch(self, name: str) -> None:
        now = self._now()
        last = self._touched.get(name)
        if last is None or now - last >= TOUCH_EVERY:
            self._touched[name] = now
            self._tasks.start(
                "noting the use of a token",
                self._database.run(rows.touch_token, name, now),
            )

    # --- tokens -----------------------------------------------------------------

    async def tokens(self) -> list[Token]:
        """Return all tokens."""
        return await self._database.run(rows.tokens)

    async def create(
        self,
        name: str,
        scopes: tuple[str, ...],
        apps: tuple[str, ...],
        expires_at: datetime | None,
    ) -> str:
        """Make a token and return it: it is shown once. @raise Conflict: name taken."""
        token = f"haloy_{secrets.token_urlsafe(32)}"
        row = Token(name, token_hash(token), scopes, apps, self._now(), expires_at)
        if name == ENV_TOKEN or not await self._database.run(rows.add_token, row):
            raise Conflict(f"there is a token named {name} already")
        await self.load()
        return token

    async def revoke(self, name: str) -> None:
        """Revoke a token at once. @raise NotFound: there is none."""
        if not await self._database.run(rows.revoke_token, name, self._now()):
            raise NotFound(f"there is no token named {name}")
        await self.load()
        for end in tuple(self._leases.get(name, ())):
            end()

    def lease(self, caller: Caller, end: Callable[[], None]) -> Callable[[], None]:
        """Call C{end} when the token of C{caller} is revoked or has expired.

        @return: forgets C{end}; for what has ended by itself.
        """
        held = self._leases.setdefault(caller.name, [])
        held.append(end)
        timer = None
        if caller.expires_at is not None:
            left_s = (caller.expires_at - self._now()).total_seconds()
            timer = self._reactor.callLater(max(left_s, 0), end)

        def forget() -> None:
            if end in held:
                held.remove(end)
            if timer is not None and timer.active():
                timer.cancel()

        return forget

    # --- the trail ----------------------------------------------------------------

    @asynccontextmanager
    async def audited(
        self, caller: Caller, action: str, subject: str
    ) -> AsyncIterator[None]:
        """Write down what is done in the block, and how it ended."""
        result = "cancelled"
        try:
            yield
            result = "ok"
        except HaloyError as problem:
            result = problem.code
            raise
        except Exception:
            result = "bug"
            raise
        finally:
            await self._database.run(
                rows.add_audit,
                self._now(),
                caller.name,
                caller.address,
                action,
                subject,
                result,
            )

    async def trail(self, limit: int) -> list[AuditEntry]:
        """Return the newest actions, newest first."""
        return await self._database.run(rows.audit, limit)


def client_address(request: Any) -> str:
    """Return where a call comes from.

    Behind the proxy, which reaches us over a unix socket, the last
    C{X-Forwarded-For}; nobody else's header is believed.
    """
    peer = request.getClientAddress()
    host = getattr(peer, "host", None)
    if host is not None:
        return str(host)
    forwarded = request.getHeader("X-Forwarded-For") or ""
    return forwarded.rpartition(",")[2].strip() or "local"
