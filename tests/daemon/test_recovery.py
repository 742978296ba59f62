"""What of an earlier life C{daemon.recovery} still serves."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from haloy.daemon.intents import Intents
from haloy.daemon.recovery import still_running
from haloy.engine.interface import ContainerSpec
from haloy.errors import EngineUnavailable
from haloy.model.app import Address, App, Domain, Replica
from haloy.model.labels import AppLabels, to_labels
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


def recovered(kept: Intents, engine: FakeEngine) -> Intents:
    found: list[Intents] = []
    Deferred.fromCoroutine(
        still_running(kept, engine, DomainName("api.example.com"))
    ).addCallback(found.append)
    return found[0]


async def make(engine: FakeEngine, *, running: bool) -> Replica:
    engine.have_image("shop:1")
    container = await engine.create(ContainerSpec("shop-1", "shop:1", labels=LABELS))
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
    found = recovered(kept, engine)
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
    found = recovered(kept, engine)
    assert found.admitted == {}
    assert found.ejected == frozenset()
    assert [one.upstreams for one in found.routed()] == [()]
    assert replica.container_id in kept.admitted


def test_snapshot_serves_while_docker_is_away() -> None:
    """P13: Docker's trouble is not the visitors'."""
    engine = FakeEngine()
    kept, _ = kept_with(engine)
    engine.failures["containers"] = EngineUnavailable("no Docker")
    assert recovered(kept, engine) == evolve(
        kept, api_domain=DomainName("api.example.com")
    )
