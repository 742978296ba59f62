"""Old replicas drain, stop and go."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from haloy.errors import EngineUnavailable
from haloy.proxy.interface import Leftover
from tests.deploy.world import ONE, TWO, World


async def test_old_containers_are_removed(server: World) -> None:
    """When the old ones have drained they are stopped and removed (D5, D14)."""
    await server.deploy(ONE)
    await server.deploy(TWO)
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)
    calls = server.engine.calls
    assert calls.index(f"stop shop-{ONE}") < calls.index(f"remove shop-{ONE}")
    assert await server.running() == [f"shop-{TWO}"]


async def test_tunnels_outlive_the_deploy(server: World) -> None:
    """An old replica with a tunnel is stopped when that has ended, not before."""
    await server.deploy(ONE)
    server.traffic.leftover[f"shop-{ONE}"] = Leftover(0, 1)
    gate: Deferred[None] = Deferred()
    server.traffic.held[f"shop-{ONE}"] = gate
    end = await server.deploy(TWO)
    assert not end.failed
    assert await server.running() == [f"shop-{ONE}", f"shop-{TWO}"]
    status = await server.status()
    assert [one.draining for one in status.replicas] == [True, False]
    gate.callback(None)
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)


async def test_drain_goes_on_after_a_restart(server: World) -> None:
    """What drained when haloyd was killed drains on, and is removed at its end."""
    await server.deploy(ONE)
    server.traffic.held[f"shop-{ONE}"] = Deferred()
    await server.deploy(TWO)
    after = await server.die()
    gate: Deferred[None] = Deferred()
    after.traffic.held[f"shop-{ONE}"] = gate
    try:
        await after.service.start()
        await after.rest()
        assert after.service.draining
        assert await after.running() == [f"shop-{ONE}", f"shop-{TWO}"]
        assert [app.deployment for app in after.reported[-1]] == [TWO]
        gate.callback(None)
        await after.rest()
        assert await after.running() == [f"shop-{TWO}"]
    finally:
        await after.service.stop()
        await after.database.close()


async def test_docker_away_while_draining(server: World) -> None:
    """A container that cannot be removed now is removed later."""
    await server.deploy(ONE)
    server.engine.failures[f"stop shop-{ONE}"] = EngineUnavailable("away")
    await server.deploy(TWO)
    await server.settled(lambda: not server.service.draining)
    assert await server.running() == [f"shop-{ONE}", f"shop-{TWO}"]
    server.engine.failures.clear()
    await server.rest()
    assert await server.running() == [f"shop-{TWO}"]
