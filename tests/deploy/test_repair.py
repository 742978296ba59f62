"""Bringing an app to what it should be."""

from __future__ import annotations

from tests.deploy.world import ONE, World


async def test_vanished_container(server: World) -> None:
    """A container that is gone is retired from the routes and created again (E3)."""
    await server.deploy(ONE)
    (before,) = await server.containers()
    server.engine.vanish(before.id)
    await server.look()
    await server.settled(lambda: len(server.engine.calls) > 0)
    (after,) = await server.containers()
    assert (after.name, after.id != before.id) == (f"shop-{ONE}", True)
    assert before.id not in server.traffic.serving
    await server.rest()
    assert [one.name for app in server.reported[-1] for one in app.replicas] == [
        f"shop-{ONE}"
    ]


async def test_crash_of_a_live_app(server: World) -> None:
    """A crash is no failed deployment: the container is started again (D3)."""
    await server.deploy(ONE)
    (before,) = await server.containers()
    server.engine.crash(before.id)
    await server.look()
    assert [one.id for one in await server.containers()] == [before.id]
    assert await server.running() == [f"shop-{ONE}"]


async def test_second_crash_in_the_wait(server: World) -> None:
    """What ends again before it may be started is started when it may (D3)."""
    await server.deploy(ONE)
    (made,) = await server.containers()
    for _ in range(2):
        server.engine.crash(made.id)
        await server.look()
    assert await server.running() == []
    starts, began_s = len(server.engine.calls), server.clock.seconds()
    await server.settled(lambda: len(server.engine.calls) > starts)
    assert server.engine.calls[-1].startswith("start")
    assert server.clock.seconds() - began_s < 5
