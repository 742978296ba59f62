"""What C{daemon.admission} lets serve, and when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.daemon.admission import GATHER_S, Admission
from haloy.daemon.intents import Intents
from haloy.daemon.routing import Routing
from haloy.errors import DeployFailed
from haloy.model.app import Address, App, Domain, HealthCheck, Replica, UnixAddress
from haloy.model.names import AppName, DeploymentId, DomainName
from haloy.proxy.routes import RouteTable
from tests.daemon.test_routing import SlowProxy


@define(eq=False)
class Probes:
    """A readiness whose verdicts the test gives."""

    clock: Clock = field(factory=Clock)
    asked: list[str] = field(factory=list)
    open: list[Deferred[None]] = field(factory=list)

    async def until_healthy(
        self,
        container_id: str,
        check: HealthCheck,
        port: int,
        network: str,
        timeout_s: float,
    ) -> None:
        self.asked.append(container_id)
        verdict: Deferred[None] = Deferred()
        self.open.append(verdict)
        await verdict

    def healthy(self, count: int = 1) -> None:
        for _ in range(count):
            self.open.pop(0).callback(None)
        self.clock.advance(GATHER_S)

    def sick(self) -> None:
        self.open.pop(0).errback(DeployFailed("answers 500", failure="health-check"))


@define(eq=False)
class AgreeingProxy(SlowProxy):
    """Acknowledges every table at once."""

    async def replace_table(self, table: RouteTable) -> None:
        self.tables.append(table)


def shop(*replicas: Replica) -> App:
    return App(
        AppName("shop"),
        DeploymentId("01aaaaaa"),
        domains=(Domain(DomainName("shop.example.com")),),
        replicas=replicas,
    )


ONE = Replica(
    container_id="one",
    name="shop-one",
    app=AppName("shop"),
    deployment=DeploymentId("01aaaaaa"),
    number=1,
    address=Address("172.18.0.2", 8080),
    managed=True,
    running=True,
    started_at=datetime(2026, 11, 24, tzinfo=UTC),
)


def admission(
    probes: Probes,
    watch: Callable[[tuple[App, ...]], None] = print,
    proxy: AgreeingProxy | None = None,
) -> tuple[Admission, Routing]:
    proxy = AgreeingProxy() if proxy is None else proxy
    routing = Routing(proxy, UnixAddress("/api.sock"), Intents())
    return Admission(routing, probes, probes.clock, watch), routing


def test_discovered_replica_serves_after_its_first_success() -> None:
    """A `docker run` container needs nobody to deploy it."""
    probes = Probes()
    watched: list[tuple[App, ...]] = []
    gate, routing = admission(probes, watched.append)
    gate.discovered((shop(ONE),))
    assert probes.asked == ["one"]
    assert routing.intents.admitted == {}
    assert watched == [(shop(ONE),)]
    probes.healthy()
    assert list(routing.intents.admitted) == ["one"]


def test_serving_replica_is_not_probed_again() -> None:
    """Reconciling every few seconds must not cost a probe each time."""
    probes = Probes()
    gate, _ = admission(probes)
    gate.discovered((shop(ONE),))
    gate.discovered((shop(ONE),))
    probes.healthy()
    gate.discovered((shop(ONE),))
    assert probes.asked == ["one"]


def test_failing_replica_is_tried_again_with_back_off() -> None:
    """D4, D29: a hiccup delays a replica, it neither drops nor removes it."""
    probes = Probes()
    clock = probes.clock
    gate, routing = admission(probes)
    gate.discovered((shop(ONE),))
    probes.sick()
    clock.advance(1)
    probes.sick()
    clock.advance(1)
    assert len(probes.asked) == 2
    clock.advance(1)
    assert len(probes.asked) == 3
    probes.healthy()
    assert list(routing.intents.admitted) == ["one"]


def test_restarted_container_is_admitted_at_its_new_address() -> None:
    """E3: `docker restart` gives a replica a new address."""
    probes = Probes()
    gate, routing = admission(probes)
    gate.discovered((shop(ONE),))
    probes.healthy()
    moved = evolve(ONE, address=Address("172.18.0.9", 8080))
    gate.discovered((shop(moved),))
    probes.healthy()
    assert routing.intents.admitted["one"].address == Address("172.18.0.9", 8080)


def test_vanished_replica_is_tried_no_more() -> None:
    """Nothing keeps probing an address that may be somebody else's now."""
    probes = Probes()
    clock = probes.clock
    gate, _ = admission(probes)
    gate.discovered((shop(ONE),))
    gate.discovered((shop(),))
    assert clock.getDelayedCalls() == []
    clock.advance(60)
    assert probes.asked == ["one"]


def test_replica_without_address_waits() -> None:
    """One on a network that we cannot reach is never routed blindly."""
    probes = Probes()
    gate, _ = admission(probes)
    gate.discovered((shop(evolve(ONE, address=None)),))
    assert probes.asked == []


def test_next_manual_deployment_takes_over() -> None:
    """No request sees both ids; what we made ourselves is never retired here."""
    probes = Probes()
    gate, routing = admission(probes)
    old = evolve(ONE, managed=False)
    new = evolve(old, container_id="two", deployment=DeploymentId("manual-2"))
    ours = evolve(ONE, container_id="ours", deployment=DeploymentId("01bbbbbb"))
    beside = evolve(new, container_id="three", number=2)
    gate.discovered((shop(old),))
    probes.healthy()
    routing.restore(routing.intents.admit(shop(ours), (ours,)))
    after = evolve(shop(new, beside), deployment=new.deployment)
    gate.discovered((after,))
    assert set(routing.intents.admitted) == {"one", "ours"}
    probes.healthy(2)
    assert set(routing.intents.admitted) == {"two", "three", "ours"}


def test_other_address_is_left_at_once() -> None:
    """The old one may be another container's; the new one is asked first (E2)."""
    probes = Probes()
    gate, routing = admission(probes)
    gate.discovered((shop(ONE),))
    probes.healthy()
    gate.discovered((shop(evolve(ONE, address=None)),))
    assert routing.intents.admitted == {}
    moved = evolve(ONE, address=Address("172.18.0.9", 8080))
    gate.discovered((shop(moved),))
    assert routing.intents.admitted == {}
    probes.healthy()
    assert routing.intents.admitted == {"one": moved}


def many(count: int) -> tuple[Replica, ...]:
    return tuple(
        evolve(ONE, container_id=f"c{number}", number=number) for number in range(count)
    )


def test_what_is_fit_within_a_moment_is_one_table() -> None:
    """Hundreds of replicas at a start cost a few tables, not hundreds."""
    probes, proxy = Probes(), AgreeingProxy()
    gate, routing = admission(probes, proxy=proxy)
    gate.discovered((shop(*many(50)),))
    probes.healthy(50)
    assert len(routing.intents.admitted) == 50
    assert len(proxy.tables) == 1


def test_gone_in_that_moment() -> None:
    """What vanishes between its success and its admission is not admitted (E2)."""
    probes = Probes()
    gate, routing = admission(probes)
    gate.discovered((shop(ONE),))
    probes.open.pop(0).callback(None)
    gate.discovered((shop(),))
    probes.clock.advance(1)
    assert routing.intents.admitted == {}


def test_held_routes_wait_for_the_first_verdicts() -> None:
    """On all, and a bad one is one too: sick apps are not waited for (D8)."""
    probes, proxy = Probes(), AgreeingProxy()
    gate, routing = admission(probes, proxy=proxy)
    routing.hold()
    gate.discovered((shop(*many(3)),))
    probes.healthy(2)
    assert proxy.tables == []
    probes.sick()
    assert len(proxy.tables) == 1
    assert len(routing.intents.admitted) == 2


def test_new_ones_are_waited_for_while_old_ones_go() -> None:
    """A restart of the container that was waited for is no verdict."""
    probes, proxy = Probes(), AgreeingProxy()
    gate, routing = admission(probes, proxy=proxy)
    routing.hold()
    gate.discovered((shop(ONE),))
    gate.discovered((shop(evolve(ONE, address=Address("172.18.0.9", 8080))),))
    assert proxy.tables == []
    gate.discovered(())
    assert len(proxy.tables) == 1
