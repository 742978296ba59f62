"""What of an earlier life C{daemon.recovery} still serves."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from haloy.daemon.intents import Intents
from haloy.daemon.recovery import Recovered, still_running
from haloy.engine.interface import ContainerSpec
from haloy.errors import EngineUnavailable
from haloy.model.app import Address, App, Domain, Replica
from haloy.model.labels import INSTANCE, AppLabels, to_labels
from haloy.model.names import AppName, DeploymentId, DomainName
from tests.fakes.engine import FakeEngine

SHOP = App(
    AppName("shop"),
    DeploymentId("01aaaaaa"),
    domains=(Domain(DomainName("shop.example.com")),),
)
LABELS = to_labels(
    AppLabels(SHOP.name, SHOP.deployment, SHOP.domains, replica=1, managed=True)
)


def recovered(kept: Intents, engine: FakeEngine, instance: str = "") -> Recovered:
    found: list[Recovered] = []
    Deferred.fromCoroutine(
        still_running(kept, engine, DomainName("api.example.com"), instance)
    ).addCallback(found.append)
    return found[0]


async def make(engine: FakeEngine, *, running: bool, instance: str = "") -> Replica:
    engine.have_image("shop:1")
    labels = {**LABELS, INSTANCE: instance} if instance else LABELS
    container = await engine.create(ContainerSpec("shop-1", "shop:1", labels=labels))
    if running:
        await engine.start(container)
    return Replica(
        container_id=container,
        name="shop-1",
        app=SHOP.name,
        deployment=SHOP.deployment,
        number=1,
        address=Address("172.18.9.9", 8080),
        managed=True,
        running=True,
    )


def kept_with(engine: FakeEngine, *, running: bool = True) -> tuple[Intents, Replica]:
    made: list[Replica] = []
    Deferred.fromCoroutine(make(engine, running=running)).addCallback(made.append)
    return Intents().admit(SHOP, made).eject(made[0].container_id), made[0]


def test_running_replica_is_served_at_its_present_address() -> None:
    """D1: routes are there before anything is probed, verdicts too."""
    engine = FakeEngine()
    kept, replica = kept_with(engine)
    start = recovered(kept, engine)
    assert start.whole
    found = start.intents
    (present,) = found.admitted.values()
    assert present.address != replica.address
    assert present.address is not None
    assert found.ejected == {replica.container_id}
    assert found.api_domain == "api.example.com"
    assert found.apps == kept.apps


def test_gone_replica_is_not_served() -> None:
    """E2: its address may be somebody else's; the app's route stays."""
    engine = FakeEngine()
    kept, replica = kept_with(engine, running=False)
    found = recovered(kept, engine).intents
    assert found.admitted == {}
    assert found.ejected == frozenset()
    assert [one.upstreams for one in found.routed()] == [()]
    assert replica.container_id in kept.admitted


def test_snapshot_serves_while_docker_is_away() -> None:
    """P13: Docker's trouble is not the visitors'."""
    engine = FakeEngine()
    kept, _ = kept_with(engine)
    engine.failures["containers"] = EngineUnavailable("no Docker")
    assert recovered(kept, engine) == Recovered(
        evolve(kept, api_domain=DomainName("api.example.com")), whole=True
    )


def test_a_snapshot_that_does_not_know_all() -> None:
    """What it lacks may have been served: its route is not to be taken away."""
    engine = FakeEngine()
    kept_with(engine)
    older = Intents()
    assert not recovered(older, engine).whole
    assert recovered(older, engine).intents.admitted == {}


def test_containers_of_another_haloyd() -> None:
    """They are none that this one served."""
    engine = FakeEngine()
    Deferred.fromCoroutine(make(engine, running=True, instance="other"))
    assert not recovered(Intents(), engine, "other").whole
    assert recovered(Intents(), engine, "this").whole
