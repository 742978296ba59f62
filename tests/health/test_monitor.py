"""What C{health.monitor} watches and tells, on real sockets with a driven clock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater

from haloy.config.daemon_file import HealthMonitorSettings
from haloy.health.monitor import Monitor, Watched
from haloy.health.probe import ProbeResult, prober
from haloy.model.app import Address, Assessment, HealthCheck, Verdict
from haloy.proxy.http2.asking import ask

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@define(eq=False, slots=False)
class Answering(Protocol):
    app: Switchable

    def connectionMade(self) -> None:
        self.app.now += 1
        self.app.most = max(self.app.most, self.app.now)

    def dataReceived(self, data: bytes) -> None:
        self.app.asked += 1
        self.app.now -= 1
        status = b"200 OK" if self.app.well else b"500 No"
        answer = b"HTTP/1.1 " + status + b"\r\n\r\n"
        self.transport.write(answer)  # type: ignore[union-attr]  # connected


@define(eq=False)
class Switchable:
    """An app that a test makes sick and well."""

    reactor: Any
    well: bool = True
    asked: int = 0
    now: int = 0
    most: int = 0
    port: Any = field(default=None)

    def listen(self) -> Address:
        factory = Factory.forProtocol(lambda: Answering(self))
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        return Address("127.0.0.1", self.port.getHost().port)


@pytest_twisted.async_yield_fixture
async def app(reactor: Any) -> AsyncIterator[Switchable]:
    served = Switchable(reactor)
    yield served
    if served.port is not None:
        await served.port.stopListening()


@define(eq=False)
class Verdicts:
    """What the monitor told."""

    told: list[tuple[str, Verdict]] = field(factory=list)

    def take(self, key: str, assessment: Assessment) -> None:
        self.told.append((key, assessment.verdict))


def monitor(reactor: Any, verdicts: Verdicts, **settings: Any) -> Monitor:
    chosen = HealthMonitorSettings(
        **{"fall": 2, "rise": 2, "concurrency": 2, **settings}
    )
    return Monitor(reactor, chosen, lambda: NOW, verdicts.take, prober(ask))


async def test_verdicts_change_after_runs(app: Switchable, reactor: Any) -> None:
    """Unhealthy after `fall` failures, healthy after `rise` successes."""
    verdicts = Verdicts()
    health = monitor(reactor, verdicts)
    health.watch([Watched("a", app.listen(), HealthCheck())])
    await health.round()
    app.well = False
    await health.round()
    assert verdicts.told == [("a", Verdict.HEALTHY)]
    await health.round()
    app.well = True
    await health.round()
    await health.round()
    assert [verdict for _, verdict in verdicts.told] == [
        Verdict.HEALTHY,
        Verdict.UNHEALTHY,
        Verdict.HEALTHY,
    ]
    assessment = health.assessment("a")
    assert assessment is not None
    assert assessment.reason == "/ answered 200"


async def test_so_many_at_a_time(app: Switchable, reactor: Any) -> None:
    """A hundred replicas do not get a hundred probes at once."""
    health = monitor(reactor, Verdicts())
    address = app.listen()
    health.watch([Watched(str(number), address, HealthCheck()) for number in range(12)])
    await health.round()
    assert app.asked == 12
    assert app.most <= 2


async def test_a_suspect_comes_before_those_that_wait(reactor: Any) -> None:
    """P12: a round among hung apps does not hold up the one that there is trouble with.

    It is asked within the limit all the same.
    """
    asked: list[str] = []
    answers: list[Deferred[ProbeResult]] = []

    async def ask_slowly(_: Any, address: Address, *__: Any) -> ProbeResult:
        asked.append(address.host)
        answers.append(Deferred())
        return await answers[-1]

    settings = HealthMonitorSettings(concurrency=2)
    health = Monitor(Clock(), settings, lambda: NOW, Verdicts().take, ask_slowly)
    health.startService()
    health.watch([Watched(one, Address(one, 1), HealthCheck()) for one in "abcdef"])
    round_ = Deferred.fromCoroutine(health.round())
    health.suspect("f")
    assert asked == ["a", "b"]
    for answer in answers:
        answer.callback(ProbeResult(True, "200"))
    await round_
    assert asked == ["a", "b", "f", "c", "d", "e"]
    await health.stopService()


async def test_hundreds_that_refuse_at_once(reactor: Any) -> None:
    """An answer without a wait does not nest one probe in the other."""
    verdicts = Verdicts()
    health = monitor(reactor, verdicts, fall=1)
    nobody = Address("127.0.0.1", 1)
    health.watch([Watched(str(one), nobody, HealthCheck()) for one in range(500)])
    await health.round()
    assert len(verdicts.told) == 500


async def test_what_is_watched_no_more_is_forgotten(
    app: Switchable, reactor: Any
) -> None:
    """D11: a round that ends late says nothing of a replica that has gone."""
    verdicts = Verdicts()
    health = monitor(reactor, verdicts)
    health.watch([Watched("a", app.listen(), HealthCheck())])
    round_ = health.round()
    task = Deferred.fromCoroutine(round_)
    health.watch([])
    await task
    assert verdicts.told == []
    assert health.assessment("a") is None


async def test_admitted_replica_is_healthy_at_once(
    app: Switchable, reactor: Any
) -> None:
    """Whom a deployment has just found healthy, status shows so before a round."""
    health = monitor(reactor, Verdicts())
    health.admitted("a")
    health.watch([Watched("a", app.listen(), HealthCheck())])
    assessment = health.assessment("a")
    assert assessment is not None
    assert assessment.verdict is Verdict.HEALTHY


def told(verdict: Verdict) -> list[Watched]:
    return [Watched("a", Address("127.0.0.1", 1), HealthCheck(), verdict)]


async def test_what_the_engine_checks_itself_is_not_asked(reactor: Any) -> None:
    """Docker's HEALTHCHECK counts alone; while it has no verdict, what was known."""
    verdicts = Verdicts()
    health = monitor(reactor, verdicts)
    seen: list[Verdict] = []
    for one in (
        Verdict.UNKNOWN,
        Verdict.HEALTHY,
        Verdict.HEALTHY,
        Verdict.UNHEALTHY,
        Verdict.UNKNOWN,
        Verdict.HEALTHY,
    ):
        health.watch(told(one))
        await health.round()
        found = health.assessment("a")
        assert found is not None
        seen.append(found.verdict)
    assert [one.value for one in seen] == [
        *("unknown", "healthy", "healthy", "unhealthy", "unhealthy", "healthy")
    ]
    assert len(verdicts.told) == 3


def test_disabled_monitor_takes_nobodys_word() -> None:
    """`enabled: false` counts for the engine's checks too."""
    verdicts = Verdicts()
    health = monitor(Clock(), verdicts, enabled=False)
    health.watch(told(Verdict.UNHEALTHY))
    assert verdicts.told == []


async def test_suspect_is_probed_now(app: Switchable, reactor: Any) -> None:
    """P12: trouble that the proxy saw is looked into before the next round."""
    health = monitor(reactor, Verdicts(), interval_s=3600)
    health.startService()
    health.watch([Watched("a", app.listen(), HealthCheck())])
    health.suspect("a")
    health.suspect("stranger")
    while not app.asked:
        await deferLater(reactor, 0.01)
    await health.stopService()
    assert app.asked == 1


def test_rounds_come_by_the_clock() -> None:
    """The interval is kept by the reactor's clock, which never jumps."""
    clock = Clock()
    verdicts = Verdicts()
    health = monitor(clock, verdicts, interval_s=15)
    health.startService()
    (call,) = clock.getDelayedCalls()
    assert call.getTime() == 15
    clock.advance(15)
    (call,) = clock.getDelayedCalls()
    assert call.getTime() == 30
    Deferred.fromCoroutine(health.stopService())
    assert clock.getDelayedCalls() == []


def test_disabled_monitor_does_nothing() -> None:
    """`enabled: false` leaves routing to deployments and Docker's events."""
    clock = Clock()
    health = monitor(clock, Verdicts(), enabled=False)
    health.startService()
    health.suspect("a")
    assert clock.getDelayedCalls() == []
    Deferred.fromCoroutine(health.stopService())
