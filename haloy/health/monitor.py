"""Watches all replicas that ought to serve, routed or not.

Rounds by a LoopingCall; in each, every replica is probed once, so many at a time,
but for those that the engine checks itself (Docker's HEALTHCHECK): its word counts.
A verdict goes to one callback when it changes. A hint from elsewhere (the proxy
could not connect) asks for a probe before all others.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.config.daemon_file import HealthMonitorSettings
from haloy.health.probe import Prober
from haloy.health.state import Health, Thresholds
from haloy.model.app import Address, Assessment, HealthCheck, Verdict
from haloy.tasks import Tasks


@frozen
class Watched:
    """A replica to watch: C{key} is its container id; C{told}: see L{Replica.told}."""

    key: str
    address: Address
    check: HealthCheck
    told: Verdict | None = None


@define(eq=False, slots=False)
class Monitor(Service):
    """Keeps an assessment of every watched replica.

    @ivar settings: see L{configure}.
    @ivar _changed: called with key and assessment whenever a verdict changes.
    @ivar _probe_by: asks one replica.
    @ivar _due: whom to probe next, the first one first.
    @ivar _probing: who is being asked.
    """

    _reactor: Any
    settings: HealthMonitorSettings
    _now: Callable[[], datetime]
    _changed: Callable[[str, Assessment], None]
    _probe_by: Prober
    _log: Logger = field(factory=Logger, init=False)
    _watched: dict[str, Watched] = field(factory=dict, init=False)
    _health: dict[str, Health] = field(factory=dict, init=False)
    _round: LoopingCall | None = field(default=None, init=False)
    _tasks: Tasks = field(init=False)
    _due: OrderedDict[str, None] = field(factory=OrderedDict, init=False)
    _probing: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the probes."""
        self._tasks = Tasks(self._log)

    def startService(self) -> None:
        """Begin the rounds, the first one after an interval."""
        super().startService()
        self._begin()

    def _begin(self) -> None:
        if self.settings.enabled:
            self._round = LoopingCall(self.round)
            self._round.clock = self._reactor
            running = self._round.start(self.settings.interval_s, now=False)
            running.addErrback(
                lambda failure: self._log.failure("health rounds ended", failure)
            )

    async def stopService(self) -> None:
        """End the rounds and the probes under way."""
        super().stopService()
        if self._round is not None and self._round.running:
            self._round.stop()
        self._due.clear()
        await self._tasks.stop()

    def configure(self, settings: HealthMonitorSettings) -> None:
        """Go on by C{settings}; what is known stays."""
        if settings == self.settings:
            return
        self.settings = settings
        if self._round is not None and self._round.running:
            self._round.stop()
        self._round = None
        if self.running:
            self._begin()

    def watch(self, replicas: Iterable[Watched]) -> None:
        """Watch exactly these; what is known of one that stays is kept.

        One that was found healthy before it is watched for the first time keeps that.
        """
        before = self._watched.keys()
        self._watched = {one.key: one for one in replicas}
        for key in before - self._watched.keys():
            self._health.pop(key, None)
        if self.settings.enabled:
            for one in self._watched.values():
                self._hear(one.key, one.told)

    def _hear(self, key: str, told: Verdict | None) -> None:
        """Take the engine's word; while it has none yet, what is known stays."""
        if told is None or told is Verdict.UNKNOWN:
            return
        if told is self._known(key).assessment.verdict:
            return
        reason = f"its HEALTHCHECK says {told.value}"
        self._settle(key, Health(Assessment(told, reason, self._now())))

    def assessment(self, key: str) -> Assessment | None:
        """Return what we think of a replica, C{None} when it is not watched."""
        if key not in self._watched:
            return None
        return self._known(key).assessment

    def admitted(self, key: str, reason: str = "passed its first check") -> None:
        """Note that somebody else has just found a replica healthy."""
        self._settle(key, Health(Assessment(Verdict.HEALTHY, reason, self._now())))

    def suspect(self, key: str) -> None:
        """Probe one replica now: somebody had trouble with it."""
        if self.running and self.settings.enabled and key in self._watched:
            self._due[key] = None
            self._due.move_to_end(key, last=False)
            self._tasks.start(f"probing {key[:12]}", self._work_off())

    async def round(self) -> None:
        """Probe every watched replica once."""
        self._due.update(dict.fromkeys(self._watched))
        free = self.settings.concurrency - len(self._probing)
        await gatherResults(
            [Deferred.fromCoroutine(self._work_off()) for _ in range(free)],
            consumeErrors=True,
        )

    async def _work_off(self) -> None:
        """Probe one after the other until nobody is due, within the limit."""
        while self._due and len(self._probing) < self.settings.concurrency:
            key, _ = self._due.popitem(last=False)
            if key in self._probing:
                continue
            self._probing.add(key)
            try:
                await self._probe(key)
            finally:
                self._probing.discard(key)

    async def _probe(self, key: str) -> None:
        watched = self._watched.get(key)
        if watched is None or watched.told is not None:
            return
        result = await self._probe_by(
            self._reactor, watched.address, watched.check, self.settings.timeout_s
        )
        # Watching may have changed meanwhile: a new address is a new replica (D11).
        if self._watched.get(key) != watched:
            return
        limits = Thresholds(fall=self.settings.fall, rise=self.settings.rise)
        after = self._known(key).after(
            result.passed, result.reason, limits, self._now()
        )
        self._settle(key, after)

    def _known(self, key: str) -> Health:
        fresh = Health(Assessment(Verdict.UNKNOWN, "not checked yet", self._now()))
        return self._health.setdefault(key, fresh)

    def _settle(self, key: str, health: Health) -> None:
        before = self._health.get(key)
        self._health[key] = health
        verdict = health.assessment.verdict
        if before is not None and before.assessment.verdict is verdict:
            return
        self._log.info(
            "replica {replica} is {verdict}: {reason}",
            replica=key[:12],
            verdict=verdict.value,
            reason=health.assessment.reason,
        )
        self._changed(key, health.assessment)
