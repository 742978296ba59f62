"""Stopping an app on purpose."""

from __future__ import annotations

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
