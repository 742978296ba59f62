"""The service: need -> order -> files -> proxy, again and again.

A certificate problem is a state with a reason and a next try; it never disturbs
what is served. Everything on disk is published before anything is ordered.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

from attrs import define, evolve, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, DeferredLock
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.certs.acme_http import AcmeError
from haloy.certs.advice import Advice
from haloy.certs.authority import Authority, Run
from haloy.certs.files import CertificateFiles
from haloy.certs.interface import CertificateStatus, Presenter
from haloy.certs.ledger import Ledger
from haloy.certs.lookup import NameLook
from haloy.certs.memory import Attempt
from haloy.certs.need import (
    Decision,
    Policy,
    decide,
    serving,
    unfit_for,
    wanted_names,
)
from haloy.certs.pem import parse_pem
from haloy.certs.shelf import Shelf
from haloy.certs.solving import Solving
from haloy.certs.status import never, status_of
from haloy.certs.windows import Windows
from haloy.errors import CertificateError, HaloyError, NotFound
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName
from haloy.tasks import Tasks

TICK_S: Final = 60.0
PARALLEL: Final = 4
#: Kinds of failure that a change in DNS may end.
BY_DNS: Final = frozenset({"validation", "dns"})


@frozen
class _Views:
    """What DNS says of all names of an order."""

    addresses: tuple[str, ...]
    problem: str


@define(eq=False, slots=False)
class CertificateService(Service):
    """Implements L{haloy.certs.interface.Certificates}.

    @ivar _authorities: the preferred one first.
    @ivar _run: runs a blocking function in a thread; one after the other.
    @ivar _close: ends that thread.
    @ivar advice: what those who deploy should hear.
    """

    _reactor: Any
    _files: CertificateFiles
    _authorities: Sequence[Authority]
    _presenter: Presenter
    _solving: Solving
    _names: NameLook
    _policy: Policy
    _now: Callable[[], datetime]
    _random: random.Random
    _run: Run
    _close: Callable[[], None] = lambda: None
    _tick_s: float = TICK_S
    _log: Logger = field(factory=Logger, init=False)
    _wanted: tuple[Domain, ...] = field(default=(), init=False)
    _shelf: Shelf = field(factory=Shelf, init=False)
    _warnings: dict[DomainName, str] = field(factory=dict, init=False)
    _ordering: set[DomainName] = field(factory=set, init=False)
    _forced: set[DomainName] = field(factory=set, init=False)
    _busy: set[str] = field(factory=set, init=False)
    _told: dict[DomainName, CertificateStatus] = field(factory=dict, init=False)
    _notify: list[Callable[[CertificateStatus], None]] = field(factory=list, init=False)
    _tick: LoopingCall | None = field(default=None, init=False)
    _publishing: DeferredLock = field(factory=DeferredLock, init=False)
    _ledger: Ledger = field(init=False)
    _windows: Windows = field(init=False)
    advice: Advice = field(init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own the orders."""
        self._ledger = Ledger(self._files, self._run, self._now, self._random)
        self._windows = Windows(self._now, self._random)
        self.advice = Advice(
            self._shelf, self._names, self._policy, self._now, self.status
        )
        self._tasks = Tasks(self._log)

    # --- life ------------------------------------------------------------------

    async def start(self) -> None:
        """Publish what is on disk, then look every minute."""
        await self._ledger.load(self._policy.authorities)
        await self._load()
        self.running = 1
        self._tick = LoopingCall(self._look)
        self._tick.clock = self._reactor
        self._tick.start(self._tick_s).addErrback(
            lambda failure: self._log.failure("the certificate tick failed", failure)
        )

    async def stop(self) -> None:
        """End orders under way; their challenges are withdrawn."""
        self.running = 0
        if self._tick is not None and self._tick.running:
            self._tick.stop()
        await self._tasks.stop()
        self._close()

    # --- Certificates -------------------------------------------------------------

    def want(self, domains: tuple[Domain, ...]) -> None:
        """Want these and no others from now on; look at once."""
        if domains == self._wanted:
            return
        self._wanted = domains
        self.reload()

    def reload(self) -> None:
        """Read the files again (certificates put there by hand)."""
        if self.running:
            self._tasks.start("reading certificates", self._reload())

    def renew(self, name: DomainName) -> None:
        """Order for C{name} now; see L{haloy.certs.interface.Certificates}."""
        for domain in self._wanted:
            if domain.canonical == name:
                decision = self._decide(domain)
                reason = never(decision.names, self._policy)
                if reason:
                    raise CertificateError(f"{name}: {reason}", domain=name)
                self._ledger.forgive(decision.name)
                self._forced.add(decision.name)
                self._look()
                return
        raise NotFound(f"no app has the domain {name}")

    async def put(self, name: DomainName, pem: bytes) -> CertificateStatus | None:
        """Serve C{name} with C{pem}; see L{haloy.certs.interface.Certificates}."""
        certificate = evolve(parse_pem(name, pem), manual=True)
        unfit = unfit_for(name, certificate, self._now())
        if unfit:
            raise CertificateError(unfit, domain=name)
        await self._run(self._files.save, certificate, self._now())
        await self._load()
        self._look()
        return next((one for one in self.status() if one.name == name), None)

    def on_change(self, notify: Callable[[CertificateStatus], None]) -> None:
        """Call C{notify} whenever a status changes."""
        self._notify.append(notify)

    def status(self) -> tuple[CertificateStatus, ...]:
        """Return how it stands with every wanted name."""
        return tuple(self._status(domain) for domain in self._wanted)

    def _status(self, domain: Domain) -> CertificateStatus:
        decision, now = self._decide(domain), self._now()
        names = wanted_names(domain)
        ordering = decision.name in self._ordering
        return status_of(
            domain,
            decision,
            serving(names, self._shelf.about(names, kept=True), now),
            self._ledger.memory,
            self._policy,
            self._warnings,
            now,
            ordering=ordering,
            queued=not ordering and self._is_due(decision),
            unsaved=decision.name in self._shelf.unsaved,
        )

    # --- looking ----------------------------------------------------------------

    def _decide(self, domain: Domain) -> Decision:
        return decide(
            domain,
            self._shelf.about(wanted_names(domain)),
            self._ledger.memory,
            self._policy,
            self._now(),
            self._forced,
        )

    def _is_due(self, decision: Decision) -> bool:
        due = decision.due is not None and decision.due <= self._now()
        return due and bool(decision.directory)

    async def _reload(self) -> None:
        await self._load()
        self._look()

    async def _load(self) -> None:
        self._shelf.replace(await self._run(self._files.load, self._now()))
        await self._publish()

    def _look(self) -> None:
        """Order what is due, so many at a time; see to the rest."""
        if not self.running:
            return
        for domain in self._wanted:
            if len(self._ordering) >= PARALLEL:
                break
            decision = self._decide(domain)
            if self._is_due(decision) and decision.name not in self._ordering:
                self._forced.discard(decision.name)
                self._ordering.add(decision.name)
                self._tasks.start(
                    f"the certificate for {decision.name}", self._obtain(decision)
                )
        self._once("keeping certificates", self._keep_rest)
        self._once("publishing certificates", self._publish)
        self._once("asking for renewal windows", self._ask_windows)
        self._once("looking at names that failed", self._watch_names)
        self._tell()

    def _once(self, what: str, work: Callable[[], Any]) -> None:
        """Start C{work} unless it is under way."""
        if what in self._busy:
            return
        self._busy.add(what)
        self._tasks.start(what, work()).addBoth(lambda _: self._busy.discard(what))

    # --- ordering ---------------------------------------------------------------

    async def _obtain(self, decision: Decision) -> None:
        try:
            await self._order(decision, await self._looked_at(decision.names))
        except CancelledError:
            raise
        except Exception as bug:
            # Tried again by the ladder like anything else, not at once for ever.
            self._log.failure("the order for {name} failed", name=decision.name)
            reason = f"a mistake of ours, see the log: {bug!r}"
            await self._failed(decision, CertificateError(reason), _Views((), ""))
        finally:
            self._ordering.discard(decision.name)
            self._look()

    async def _looked_at(self, names: tuple[DomainName, ...]) -> _Views:
        views = _Views((), "")
        for name in names:
            view = await self._names.look(name)
            self._warnings[name] = view.warning
            views = _Views(
                (*views.addresses, *view.addresses), views.problem or view.problem
            )
        return views

    async def _order(self, decision: Decision, view: _Views) -> None:
        authority = self._known_authority(decision.directory) or self._authorities[0]
        held = self._shelf.held.get(decision.name)
        before = held if decision.renewal else None
        solver = self._solving.solver(self._ledger.disproven(decision))
        attempt = None
        try:
            if view.problem:
                raise AcmeError(view.problem, kind="dns")
            attempt = await self._ledger.began(decision)
            certificate = await authority.order(decision.names, solver, before)
        except CancelledError:
            if attempt is not None:
                await self._ledger.cancelled(attempt)
            raise
        except HaloyError as problem:
            await self._failed(decision, problem, view, attempt)
            return
        await self._ledger.issued(decision, attempt)
        if self._shelf.overtaken(decision.name, held):
            self._log.info("{name}: put there by hand meanwhile", name=decision.name)
            return
        await self._keep(certificate)
        await self._publish()
        self._log.info(
            "certificate for {names} obtained, valid until {until}",
            names=", ".join(decision.names),
            until=f"{certificate.not_after:%Y-%m-%d %H:%M}",
        )

    async def _keep(self, certificate: Certificate) -> None:
        """Hold it, on disk too; what the disk does not take is served all the same."""
        self._shelf.put(certificate)
        try:
            await self._run(self._files.save, certificate, self._now())
        except HaloyError as problem:
            if certificate.name not in self._shelf.unsaved:
                self._log.error("{problem}; tried again", problem=str(problem))
            self._shelf.unsaved[certificate.name] = certificate
        else:
            self._shelf.unsaved.pop(certificate.name, None)

    async def _keep_rest(self) -> None:
        """Try again what the disk has not taken."""
        for certificate in tuple(self._shelf.unsaved.values()):
            await self._keep(certificate)

    async def _failed(
        self,
        decision: Decision,
        problem: HaloyError,
        view: _Views,
        attempt: Attempt | None = None,
    ) -> None:
        if not self.running:
            # Whatever a cancelled order looks like, it has not failed.
            if attempt is not None:
                await self._ledger.cancelled(attempt)
            return
        await self._ledger.failed(
            decision,
            problem,
            view.addresses,
            attempt,
            only_one=len(self._authorities) == 1,
        )

    def _known_authority(self, directory: str) -> Authority | None:
        found = (one for one in self._authorities if one.directory == directory)
        return next(found, None)

    # --- between orders ------------------------------------------------------------

    async def _watch_names(self) -> None:
        """Try again at once where DNS has changed since the failure."""
        for domain in self._wanted:
            decision = self._decide(domain)
            failures = self._ledger.memory.failures.get(decision.name)
            if (
                decision.waits_for != "failure"
                or failures is None
                or failures.kind not in BY_DNS
            ):
                continue
            view = await self._looked_at(decision.names)
            if view.addresses != failures.view and not view.problem:
                self._log.info("{name} has moved in DNS", name=decision.name)
                self._ledger.forgive(decision.name)
                await self._ledger.remember()
                self._look()

    async def _ask_windows(self) -> None:
        """Ask the CAs when they want their certificates renewed (RFC 9773)."""
        for domain in self._wanted:
            certificate = self._shelf.held.get(domain.canonical)
            if certificate is None:
                continue
            known = self._ledger.memory.windows.get(certificate.name)
            authority = self._known_authority(certificate.directory)
            if authority is None or not self._windows.due(certificate, known):
                continue
            window = await self._windows.ask(authority, certificate, known)
            if window is not None:
                await self._ledger.suggested(certificate.name, window)

    # --- serving ----------------------------------------------------------------

    async def _publish(self) -> None:
        """Give the proxy what there is; for names without any, one of our own."""
        await self._publishing.acquire()
        try:
            served = self._shelf.to_serve(self._wanted, self._now())
            if served is not None:
                await self._presenter.replace_certificates(served)
                self._shelf.served = served
        except HaloyError as problem:
            # The proxy is away. What it was to serve is tried again in a minute.
            self._log.error("{problem}", problem=str(problem))
        finally:
            self._publishing.release()

    def _tell(self) -> None:
        """Tell those who want to know what has changed."""
        for status in self.status():
            if self._told.get(status.name) != status:
                self._told[status.name] = status
                for notify in self._notify:
                    notify(status)
