"""Stopping an app on purpose."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from haloy.deploy.service import STOP_TOLD_S
from haloy.errors import Conflict, EngineError, EngineUnavailable, NotFound
from haloy.model.names import AppName
from tests.deploy.world import ONE, TWO, World


async def test_stop(server: World) -> None:
    """A stopped app stays stopped, loses its routes, and a deploy brings it back."""
    await server.deploy(ONE)
    await server.service.stop_app(AppName("shop"), False, False)
    assert await server.running() == [], "it is told when it is done"
    await server.look()
    assert await server.running() == []
    assert server.traffic.serving == {}
    await server.deploy(TWO)
    assert f"shop-{TWO}" in await server.running()


async def test_stop_and_remove(server: World) -> None:
    """Containers and the volumes that carry the app's label go when asked for."""
    await server.deploy(ONE, volumes=("data:/data",))
    await server.service.stop_app(AppName("shop"), True, True)
    await server.settled(lambda: "remove_volume data" in server.engine.calls)
    assert await server.containers() == []
    with pytest.raises(NotFound):
        await server.status()


async def test_stop_of_what_is_not_there(server: World) -> None:
    """An unknown app is not found (A13)."""
    with pytest.raises(NotFound):
        await server.service.stop_app(AppName("nothing"), False, False)


async def test_stop_waits_for_its_turn(server: World) -> None:
    """A stop drops the deployment that waits and follows the one that runs."""
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{ONE}"] = gate
    await server.submit(ONE)
    await server.settled(lambda: f"shop-{ONE}" in server.readiness.asked)
    await server.submit(TWO)
    await server.service.stop_app(AppName("shop"), False, False)
    dropped = await server.end_of(TWO)
    assert dropped.fields["code"] == "superseded"
    gate.callback(None)
    assert not (await server.end_of(ONE)).failed
    await server.settled(lambda: f"stop shop-{ONE}" in server.engine.calls)
    await server.rest()
    assert await server.running() == []
    assert server.traffic.serving == {}


async def test_one_that_does_not_stop(server: World) -> None:
    """It is told by name (A13), and keeps no other from being stopped."""
    await server.deploy(ONE, replicas=2)
    server.engine.failures[f"stop shop-{ONE}-r1"] = EngineUnavailable("away")
    with pytest.raises(EngineUnavailable, match=f"shop-{ONE}-r1 could not be stopped"):
        await server.service.stop_app(AppName("shop"), False, False)
    assert f"stop shop-{ONE}-r2" in server.engine.calls
    assert await server.running() == [f"shop-{ONE}-r1"]


async def test_volume_that_stays(server: World) -> None:
    """Volumes that Docker keeps are told by name too."""
    await server.deploy(ONE, volumes=("data:/data",))
    server.engine.failures["remove_volume data"] = Conflict("in use")
    with pytest.raises(EngineError, match="volume data stays: in use"):
        await server.service.stop_app(AppName("shop"), True, True)
    assert await server.containers() == []


async def test_stop_that_takes_long(server: World) -> None:
    """Nobody waits for it longer than clients do; it goes on."""
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.traffic.held[f"shop-{ONE}"] = gate
    asked = Deferred.fromCoroutine(
        server.service.stop_app(AppName("shop"), False, False)
    )
    began = server.clock.seconds()
    await server.settled(lambda: bool(asked.called))
    assert STOP_TOLD_S <= server.clock.seconds() - began < 30
    assert await server.running() == [f"shop-{ONE}"]
    gate.callback(None)
    await server.settled(lambda: f"stop shop-{ONE}" in server.engine.calls)


async def test_stop_of_what_is_deployed_for_the_first_time(server: World) -> None:
    """An app that nothing runs of yet, as its image is pulled, is no unknown one."""
    gate: Deferred[None] = Deferred()

    async def held() -> None:
        await gate

    server.seam.before[f"create shop-{ONE}"] = held
    await server.submit(ONE)
    await server.settled(lambda: f"create shop-{ONE}" not in server.seam.before)
    await server.service.stop_app(AppName("shop"), False, False)
    gate.callback(None)
    assert not (await server.end_of(ONE)).failed
    await server.settled(lambda: f"stop shop-{ONE}" in server.engine.calls)
    await server.rest()
    assert await server.running() == []
