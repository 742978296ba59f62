"""Looking at what runs, beside deployments."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from haloy.errors import EngineUnavailable
from tests.deploy.world import ONE, TWO, World


async def test_live_deployment_never_removes_itself(server: World) -> None:
    """A look that began before the switch does not clear the new version (D2)."""
    server.engine.have_image("aaa:latest")
    await server.deploy("01aaaaaaaa-aaa", "aaa")
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{TWO}"] = gate
    await server.submit(TWO)
    await server.settled(lambda: f"shop-{TWO}" in server.readiness.asked)
    (first,) = await server.containers("aaa")
    server.engine.vanish(first.id)

    ended: list[Any] = []

    async def slowly() -> None:
        gate.callback(None)
        ended.append(await server.end_of(TWO))

    server.seam.before["create aaa-01aaaaaaaa-aaa"] = slowly
    await server.look()
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)
    await server.look()
    assert not ended[0].failed
    assert await server.running() == [f"shop-{TWO}"]


async def test_slow_app_holds_up_nobody(server: World) -> None:
    """A look that waits for one app reports the others (rule 8, D8)."""
    server.engine.have_image("aaa:latest")
    await server.deploy("01aaaaaaaa-aaa", "aaa")
    await server.deploy(ONE)
    (first,) = await server.containers("aaa")
    (second,) = await server.containers("shop")
    server.engine.vanish(first.id)
    server.engine.crash(second.id)
    gate: Deferred[None] = Deferred()

    async def slowly() -> None:
        await gate

    server.seam.before["create aaa-01aaaaaaaa-aaa"] = slowly
    looking = Deferred.fromCoroutine(server.look())
    server.engine.calls.clear()
    await server.settled(lambda: f"start shop-{ONE}" in server.engine.calls)
    gate.callback(None)
    await looking


async def test_old_replicas_are_watched_during_a_deploy(server: World) -> None:
    """What serves is reported also while its successor is on its way (D4)."""
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{TWO}"] = gate
    await server.submit(TWO)
    await server.settled(lambda: f"shop-{TWO}" in server.readiness.asked)
    await server.look()
    reported = [one.name for app in server.reported[-1] for one in app.replicas]
    gate.callback(None)
    await server.end_of(TWO)
    assert reported == [f"shop-{ONE}"]


async def test_look_that_fails_is_repeated_soon(server: World) -> None:
    """Docker is asked again after a second, not at the next round (E3)."""
    await server.deploy(ONE)
    # The look at what the deployment has left is over, too.
    await server.settled(lambda: any(server.reported[-1:]))
    server.engine.failures["containers"] = EngineUnavailable("no answer")
    reports = len(server.reported)
    server.service.poke(None)
    for _ in range(10):
        server.clock.advance(0.05)
        await deferLater(server.reactor, 0.01)
    assert len(server.reported) == reports
    del server.engine.failures["containers"]
    # No more than 5 of its seconds go by; a round is due after 30.
    await server.settled(lambda: len(server.reported) > reports, 0.2)
