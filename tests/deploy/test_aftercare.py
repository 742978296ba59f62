"""Old replicas drain, stop and go."""

from __future__ import annotations

from twisted.internet.defer import Deferred

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
