"""Stopping an app on purpose."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from haloy.errors import EngineUnavailable, NotFound
from haloy.model.names import AppName
from tests.deploy.world import ONE, TWO, World


async def test_stop(server: World) -> None:
    """A stopped app stays stopped, loses its routes, and a deploy brings it back."""
    await server.deploy(ONE)
    await server.service.stop_app(AppName("shop"), False, False)
    await server.settled(lambda: f"stop shop-{ONE}" in server.engine.calls)
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
    """A container that Docker cannot stop keeps no other from being stopped."""
    await server.deploy(ONE, replicas=2)
    server.engine.failures[f"stop shop-{ONE}-r1"] = EngineUnavailable("away")
    await server.service.stop_app(AppName("shop"), False, False)
    await server.settled(lambda: f"stop shop-{ONE}-r2" in server.engine.calls)
    assert await server.running() == [f"shop-{ONE}-r1"]
