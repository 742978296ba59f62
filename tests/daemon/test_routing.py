"""What C{daemon.routing} publishes, and when those who wait are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from haloy.daemon.intents import Intents
from haloy.daemon.routing import Routing
from haloy.errors import Conflict, EngineUnavailable
from haloy.model.app import Address, App, Domain, Replica, UnixAddress, Verdict
from haloy.model.certificate import Certificate, Challenge
from haloy.model.names import AppName, DeploymentId, DomainName
from haloy.proxy.interface import (
    DrainLimits,
    Leftover,
    Program,
    ProxyStats,
    UpstreamFailure,
)
from haloy.proxy.metrics import TrafficReading
from haloy.proxy.routes import AppRoute, RouteTable


@define(eq=False)
class SlowProxy:
    """A proxy whose workers acknowledge a table when the test says so."""

    tables: list[RouteTable] = field(factory=list)
    open: list[Deferred[None]] = field(factory=list)
    left: dict[str, Leftover] = field(factory=dict)
    trusted: tuple[str, ...] = ()

    async def replace_table(self, table: RouteTable) -> None:
        self.tables.append(table)
        acknowledged: Deferred[None] = Deferred()
        self.open.append(acknowledged)
        await acknowledged

    def acknowledge(self) -> None:
        self.open.pop(0).callback(None)

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        """Take them."""

    async def present(self, challenge: Challenge) -> None:
        """Show it."""

    async def withdraw(self, challenge: Challenge) -> None:
        """Hide it."""

    async def drain(self, key: str, limits: DrainLimits) -> Leftover:
        return self.left.get(key, Leftover(0, 0))

    async def park(self, app: AppName, limit_s: float) -> None:
        """Hold."""

    async def unpark(self, app: AppName) -> None:
        """Let go."""

    def stats(self) -> ProxyStats:
        return ProxyStats(0, 0, 0, 0, 0)

    async def traffic(self) -> TrafficReading:
        return TrafficReading({})

    async def programs(self) -> tuple[Program, ...]:
        return (Program("", "interpreted"),)

    def trust(self, networks: Sequence[str]) -> None:
        self.trusted = tuple(networks)

    def on_upstream_failure(self, notify: Callable[[UpstreamFailure], None]) -> None:
        """Promise to tell."""


SHOP = App(
    AppName("shop"),
    DeploymentId("01aaaaaa"),
    domains=(Domain(DomainName("shop.example.com")),),
)


def replica(container: str) -> Replica:
    return Replica(
        container_id=container,
        name=container,
        app=AppName("shop"),
        deployment=DeploymentId("01aaaaaa"),
        number=1,
        address=Address("172.18.0.2", 8080),
        managed=True,
        running=True,
    )


def routing(proxy: SlowProxy) -> Routing:
    return Routing(proxy, UnixAddress("/api.sock"), Intents())


def serving(table: RouteTable) -> list[str]:
    route = table.exact["shop.example.com"]
    assert isinstance(route, AppRoute)
    return [upstream.key for upstream in route.upstreams]


def test_admit_returns_when_the_table_is_acknowledged() -> None:
    """The old version is drained only after every worker knows the new one."""
    proxy = SlowProxy()
    done = Deferred.fromCoroutine(routing(proxy).admit(SHOP, (replica("a"),)))
    assert serving(proxy.tables[0]) == ["a"]
    assert not done.called
    proxy.acknowledge()
    assert done.called


def test_changes_during_a_table_go_out_together() -> None:
    """D8, D30: a burst costs one more table, and each caller waits for its own."""
    proxy = SlowProxy()
    table = routing(proxy)
    first = Deferred.fromCoroutine(table.admit(SHOP, (replica("a"),)))
    later = [
        Deferred.fromCoroutine(table.admit(SHOP, (replica(name),))) for name in "bcd"
    ]
    proxy.acknowledge()
    assert first.called
    assert not any(one.called for one in later)
    proxy.acknowledge()
    assert all(one.called for one in later)
    assert [serving(one) for one in proxy.tables] == [["a"], ["a", "b", "c", "d"]]


def test_generations_grow() -> None:
    """Workers can tell a newer table from an older one."""
    proxy = SlowProxy()
    table = routing(proxy)
    Deferred.fromCoroutine(table.admit(SHOP, (replica("a"),)))
    proxy.acknowledge()
    table.judge("a", Verdict.UNHEALTHY)
    assert [one.generation for one in proxy.tables] == [1, 2]


def test_death_takes_a_replica_out_without_being_asked() -> None:
    """E2: an address does not outlive its container."""
    proxy = SlowProxy()
    table = routing(proxy)
    Deferred.fromCoroutine(table.admit(SHOP, (replica("a"), replica("b"))))
    proxy.acknowledge()
    table.died("a")
    assert serving(proxy.tables[-1]) == ["b"]


def test_verdicts_take_out_and_bring_back() -> None:
    """An unhealthy replica leaves the route while the route stays."""
    proxy = SlowProxy()
    table = routing(proxy)
    Deferred.fromCoroutine(table.admit(SHOP, (replica("a"),)))
    proxy.acknowledge()
    table.judge("a", Verdict.UNHEALTHY)
    assert serving(proxy.tables[-1]) == []
    proxy.acknowledge()
    table.judge("a", Verdict.HEALTHY)
    assert serving(proxy.tables[-1]) == ["a"]


def test_no_news_publishes_nothing() -> None:
    """A healthy verdict about a healthy replica costs no table."""
    proxy = SlowProxy()
    table = routing(proxy)
    Deferred.fromCoroutine(table.admit(SHOP, (replica("a"),)))
    proxy.acknowledge()
    table.judge("a", Verdict.HEALTHY)
    assert len(proxy.tables) == 1


def test_failed_table_is_told_and_the_next_one_is_tried(
    logged_failures: list[Failure],
) -> None:
    """P13, D28: one refused table freezes nothing."""
    proxy = SlowProxy()
    table = routing(proxy)
    first = Deferred.fromCoroutine(table.admit(SHOP, (replica("a"),)))
    proxy.open.pop(0).errback(EngineUnavailable("worker gone"))
    caught: list[Failure] = []
    first.addErrback(caught.append)
    assert caught[0].check(EngineUnavailable)
    second = Deferred.fromCoroutine(table.admit(SHOP, (replica("b"),)))
    proxy.acknowledge()
    assert second.called
    assert serving(proxy.tables[-1]) == ["a", "b"]
    logged_failures.clear()


def test_drain_adds_up_what_is_left() -> None:
    """A deployment reports one number over its replicas."""
    proxy = SlowProxy()
    proxy.left = {"a": Leftover(1, 2), "b": Leftover(0, 3)}
    total: list[Leftover] = []
    Deferred.fromCoroutine(
        routing(proxy).drained((replica("a"), replica("b")), DrainLimits(1, 1))
    ).addCallback(total.append)
    assert total == [Leftover(1, 5)]


@pytest.mark.parametrize("act", ["admit", "retire", "forget"])
def test_what_a_deployment_did_outlives_a_crash(act: str) -> None:
    """It is done when the snapshot knows of it: a start would go back behind it."""
    kept: Deferred[None] = Deferred()
    proxy = SlowProxy()
    routes = Routing(proxy, UnixAddress("/api.sock"), Intents(), kept=lambda: kept)
    some = (replica("a"),)
    acts = {
        "admit": lambda: routes.admit(SHOP, some),
        "retire": lambda: routes.retire(some),
        "forget": lambda: routes.forget(SHOP.name),
    }
    done = Deferred.fromCoroutine(acts[act]())
    proxy.acknowledge()
    assert not done.called
    kept.callback(None)
    assert done.called


def test_claim_of_a_taken_domain_fails() -> None:
    """The deploy is refused before it starts anything."""
    proxy = SlowProxy()
    table = routing(proxy)
    Deferred.fromCoroutine(table.admit(SHOP, (replica("a"),)))
    refused = Deferred.fromCoroutine(table.claim(AppName("thief"), SHOP.domains))
    caught: list[Failure] = []
    refused.addErrback(caught.append)
    with pytest.raises(Conflict):
        caught[0].raiseException()


def test_held_until_there_are_verdicts() -> None:
    """Nothing is taken from a proxy that serves more than a new start knows of."""
    proxy = SlowProxy()
    routes = routing(proxy)
    routes.hold()
    routes.restore(Intents())
    changed = Deferred.fromCoroutine(routes.admit(SHOP, (replica("one"),)))
    routes.found_fit([(SHOP, replica("two"), ())])
    assert (proxy.tables, changed.called) == ([], False)
    routes.go_on()
    proxy.acknowledge()
    assert changed.called
    (table,) = proxy.tables
    route = table.exact["shop.example.com"]
    assert isinstance(route, AppRoute)
    assert [one.key for one in route.upstreams] == ["one", "two"]
    routes.go_on()
    assert len(proxy.tables) == 1


def test_a_table_under_way_is_the_last_before_verdicts() -> None:
    """What is decided while it is sent is held back, too."""
    proxy = SlowProxy()
    routes = routing(proxy)
    routes.restore(Intents())
    assert len(proxy.tables) == 1
    routes.hold()
    changed = Deferred.fromCoroutine(routes.admit(SHOP, (replica("one"),)))
    proxy.acknowledge()
    assert (len(proxy.tables), changed.called) == (1, False)
    routes.go_on()
    proxy.acknowledge()
    assert (len(proxy.tables), changed.called) == (2, True)
