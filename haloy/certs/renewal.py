"""The service: need -> order -> files -> proxy, again and again.

A certificate problem is a state with a reason and a next try; it never disturbs
what is served. Everything on disk is published before anything is ordered.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from haloy.certs.acme import AcmeClient, AcmeError
from haloy.certs.files import CertificateFiles, parse_pem
from haloy.certs.interface import CertificateStatus, Presenter
from haloy.certs.jose import key_pem, new_certificate_key
from haloy.certs.need import (
    Failures,
    Need,
    after_failure,
    due_at,
    needs,
    orderable,
    serving,
    wanted_names,
)
from haloy.errors import HaloyError
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName
from haloy.tasks import Tasks

TICK_S = 60.0
PARALLEL = 4


class NameCheck(Protocol):
    """A look at a name before it is ordered for."""

    async def problem(self, name: DomainName) -> str:
        """Return why an order for C{name} cannot work, C{""}: it may."""


@define(eq=False, slots=False)
class CertificateService(Service):
    """Implements C{certs.interface.Certificates}."""

    _reactor: Any
    _files: CertificateFiles
    _client: AcmeClient
    _presenter: Presenter
    _names: NameCheck
    _now: Callable[[], datetime]
    _random: random.Random
    _email: str = ""
    _log: Logger = field(factory=Logger, init=False)
    _wanted: tuple[Domain, ...] = field(default=(), init=False)
    _held: dict[DomainName, Certificate] = field(factory=dict, init=False)
    _failures: dict[DomainName, Failures] = field(factory=dict, init=False)
    _paused_until: datetime | None = field(default=None, init=False)
    _ordering: set[DomainName] = field(factory=set, init=False)
    _published: tuple[Certificate, ...] | None = field(default=None, init=False)
    _notify: list[Callable[[CertificateStatus], None]] = field(factory=list, init=False)
    _tick: LoopingCall | None = field(default=None, init=False)
    _tasks: Tasks = field(init=False)
    _pool: ThreadPool = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own the orders, and a thread for the disk."""
        self._tasks = Tasks(self._log)
        self._pool = ThreadPool(0, 1, "certificates")

    # --- life ------------------------------------------------------------------

    async def start(self) -> None:
        """Publish what is on disk, then look every minute."""
        self._pool.start()
        self._failures, self._paused_until = self._files.load_failures()
        await self._load()
        self.running = 1
        self._tick = LoopingCall(self._look)
        self._tick.clock = self._reactor
        self._tick.start(TICK_S)

    async def stop(self) -> None:
        """End orders under way; their challenges are withdrawn."""
        self.running = 0
        if self._tick is not None and self._tick.running:
            self._tick.stop()
        await self._tasks.stop()
        self._pool.stop()

    # --- Certificates -------------------------------------------------------------

    def want(self, domains: tuple[Domain, ...]) -> None:
        """Want these and no others from now on; look at once."""
        if domains == self._wanted:
            return
        self._wanted = domains
        if self.running:
            self._tasks.start("looking at certificates", self._reload())

    def reload(self) -> None:
        """Read the files again (certificates put there by hand)."""
        self._tasks.start("reloading certificates", self._reload())

    def on_change(self, notify: Callable[[CertificateStatus], None]) -> None:
        """Call C{notify} whenever a status changes."""
        self._notify.append(notify)

    def status(self) -> tuple[CertificateStatus, ...]:
        """Return how it stands with every wanted name."""
        return tuple(self._status(domain) for domain in self._wanted)

    def _status(self, domain: Domain) -> CertificateStatus:
        names = wanted_names(domain)
        certificate = serving(names, self._held, self._now())
        failed = self._failures.get(domain.canonical)
        manual = certificate is not None and certificate.name != names[0]
        state = "pending"
        if certificate is not None:
            state = "manual" if manual else "valid"
        elif failed is not None:
            state = "failed"
        return CertificateStatus(
            name=domain.canonical,
            aliases=domain.aliases,
            state=state,
            not_after=certificate.not_after if certificate is not None else None,
            issuer=certificate.issuer if certificate is not None else "",
            reason=failed.reason if failed is not None else self._reason(names),
            next_try=self._next_try(names, certificate, failed),
        )

    def _reason(self, names: tuple[DomainName, ...]) -> str:
        if names[0] in self._ordering:
            return "being ordered"
        if not orderable(names):
            return "cannot be proven by HTTP-01: put a certificate into certs/"
        return ""

    def _next_try(
        self,
        names: tuple[DomainName, ...],
        certificate: Certificate | None,
        failed: Failures | None,
    ) -> datetime | None:
        if failed is not None:
            return max(failed.not_before, self._paused_until or failed.not_before)
        return None if certificate is None else due_at(certificate, names)

    # --- looking ----------------------------------------------------------------

    async def _reload(self) -> None:
        await self._load()
        self._look()

    async def _load(self) -> None:
        held: dict[DomainName, Certificate] = await deferToThreadPool(
            self._reactor, self._pool, self._files.load, self._now()
        )
        self._held = held
        await self._publish()

    def _look(self) -> None:
        """Order what is needed, so many at a time."""
        found = needs(
            self._wanted, self._held, self._failures, self._paused_until, self._now()
        )
        for need in found:
            if len(self._ordering) >= PARALLEL:
                break
            if need.name not in self._ordering:
                self._ordering.add(need.name)
                self._tasks.start(f"certificate for {need.name}", self._obtain(need))

    async def _obtain(self, need: Need) -> None:
        try:
            await self._refuse_hopeless(need)
            certificate = await self._order(need)
        except HaloyError as problem:
            self._failed(need, problem)
        else:
            self._held[need.name] = certificate
            self._failures.pop(need.name, None)
            self._save_failures()
            await self._publish()
            self._log.info(
                "certificate for {names} obtained, valid until {until}",
                names=", ".join(need.names),
                until=f"{certificate.not_after:%Y-%m-%d %H:%M}",
            )
        finally:
            self._ordering.discard(need.name)
            self._told(need.name)
        self._look()

    async def _refuse_hopeless(self, need: Need) -> None:
        """@raise AcmeError: a name does not exist, so the CA would only say no."""
        for name in need.names:
            problem = await self._names.problem(name)
            if problem:
                raise AcmeError(problem, kind="validation")

    async def _order(self, need: Need) -> Certificate:
        if not self._client.account_url:
            await self._client.register(self._email)
        key = new_certificate_key()
        chain = await self._client.obtain(need.names, key, self._presenter)
        certificate = parse_pem(need.name, key_pem(key) + chain)
        await deferToThreadPool(
            self._reactor, self._pool, self._files.save, certificate
        )
        return certificate

    def _failed(self, need: Need, problem: HaloyError) -> None:
        retry_s = getattr(problem, "retry_after_s", None)
        now = self._now()
        if getattr(problem, "kind", "") == "rate":
            self._paused_until = now + timedelta(seconds=retry_s or 3600)
        failed = after_failure(
            self._failures.get(need.name),
            need.names,
            problem.reason,
            retry_s,
            self._random.uniform(-1, 1),
            now,
        )
        self._failures[need.name] = failed
        self._save_failures()
        self._log.warn(
            "no certificate for {name}: {reason}; next try at {next}",
            name=need.name,
            reason=problem.reason,
            next=f"{failed.not_before:%Y-%m-%d %H:%M:%S} UTC",
        )

    def _save_failures(self) -> None:
        try:
            self._files.save_failures(self._failures.items(), self._paused_until)
        except OSError as problem:
            self._log.error(
                "certificate failures cannot be kept: {problem}", problem=str(problem)
            )

    def _told(self, name: DomainName) -> None:
        for domain in self._wanted:
            if domain.canonical == name:
                for notify in self._notify:
                    notify(self._status(domain))

    # --- serving ----------------------------------------------------------------

    async def _publish(self) -> None:
        """Give the proxy every certificate that is valid, the newest per name last."""
        now = self._now()
        valid = sorted(
            (one for one in self._held.values() if one.not_after > now),
            key=lambda one: one.not_after,
        )
        served = tuple(valid)
        if served != self._published:
            self._published = served
            await self._presenter.replace_certificates(served)
