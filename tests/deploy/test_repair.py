"""Bringing an app to what it should be."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from haloy.engine.interface import ContainerSpec
from haloy.model.app import Assessment, Verdict
from haloy.model.names import AppName
from tests.deploy.world import ONE, THREE, TWO, World


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


async def test_its_network_is_removed(server: World) -> None:
    """It is made again, and who runs or is down is on it again, not made anew."""
    await server.deploy(ONE)
    (made,) = await server.containers()
    server.engine.lose_network("haloy")
    await server.look()
    (again,) = await server.containers()
    assert (again.id, bool(again.networks)) == (made.id, True)
    server.engine.crash(made.id)
    server.engine.lose_network("haloy")
    await server.settled(lambda: server.engine.calls[-1].startswith("start"))
    assert await server.running() == [f"shop-{ONE}"]
    assert [one.id for one in await server.containers()] == [made.id]


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


async def test_hung_replica(server: World) -> None:
    """A replica that runs and does not answer for a minute is replaced, one a look."""
    await server.deploy(ONE, replicas=2)
    before = {one.name: one.id for one in await server.containers()}
    for identifier in before.values():
        server.assessments[identifier] = Assessment(
            Verdict.UNHEALTHY, "/ answered 500", server.now
        )
    await server.rest()
    assert {one.name: one.id for one in await server.containers()} == before
    server.now += timedelta(seconds=61)
    await server.look()
    after = {one.name: one.id for one in await server.containers()}
    assert after.keys() == before.keys()
    assert len(set(after.values()) - set(before.values())) == 1
    assert len(await server.running()) == 2


async def test_crash_loop_backs_off(server: World) -> None:
    """A container that ends again and again is started with growing waits (D3)."""
    await server.deploy(ONE)
    (made,) = await server.containers()
    server.engine.calls.clear()
    for _ in range(60):
        server.engine.crash(made.id)
        await server.look()
        server.clock.advance(1)
    starts = [one for one in server.engine.calls if one.startswith("start")]
    assert 5 <= len(starts) <= 7
    assert [one.id for one in await server.containers()] == [made.id]


async def test_first_deployment_that_was_killed(server: World) -> None:
    """What an interrupted first deployment left never serves and goes (E5, E7)."""
    server.seam.crash_at, server.seam.crash_done = server.seam.changes + 3, True
    await server.submit(ONE)
    await server.settled(lambda: server.seam.dead)
    after = await server.die()
    try:
        assert await after.running() == [f"shop-{ONE}"]
        await after.service.start()
        await after.rest()
        assert await after.containers() == []
        assert not any(app.replicas for told in after.reported for app in told)
    finally:
        await after.service.stop()
        await after.database.close()


async def test_requests_to_what_never_went_live(server: World) -> None:
    """A proxy of its own sent it some until haloyd was there again: they end first."""
    server.seam.crash_at, server.seam.crash_done = server.seam.changes + 3, True
    await server.submit(ONE)
    await server.settled(lambda: server.seam.dead)
    after = await server.die()
    under_way: Deferred[None] = Deferred()
    after.traffic.held[f"shop-{ONE}"] = under_way
    try:
        await after.service.start()
        await after.settled(lambda: f"retire shop-{ONE}" in after.traffic.calls)
        assert await after.running() == [f"shop-{ONE}"]
        under_way.callback(None)
        await after.rest()
        assert await after.containers() == []
    finally:
        await after.service.stop()
        await after.database.close()


async def test_lost_database(server: World, tmp_path: Path, reactor: Any) -> None:
    """With a new database what runs is taken over by its labels and goes on."""
    await server.deploy(ONE, replicas=2)
    after = World(tmp_path / "new", reactor, server.engine)
    await after.begin()
    try:
        await after.service.start()
        await after.rest()
        told = [one.name for app in after.reported[-1] for one in app.replicas]
        assert told == [f"shop-{ONE}-r1", f"shop-{ONE}-r2"]
        assert (await after.status()).deployment == ONE
        assert not (await after.deploy(TWO)).failed
        await after.rest()
        assert await after.versions() == {TWO}
    finally:
        await after.service.stop()
        await after.database.close()


async def test_lost_database_and_a_deployment_at_once(
    server: World, tmp_path: Path, reactor: Any
) -> None:
    """The first look takes over all others too: a table without them would be short."""
    server.engine.have_image("aaa:latest")
    await server.deploy("01aaaaaaaa-aaa", "aaa")
    await server.deploy(ONE)
    after = World(tmp_path / "new", reactor, server.engine)
    await after.begin()
    gate: Deferred[None] = Deferred()
    after.readiness.held[f"shop-{TWO}"] = gate
    try:
        await after.submit(TWO)
        await after.settled(lambda: f"shop-{TWO}" in after.readiness.asked)
        await after.look()
        told = [one.name for app in after.reported[0] for one in app.replicas]
        assert told == ["aaa-01aaaaaaaa-aaa", f"shop-{ONE}"]
        gate.callback(None)
        assert not (await after.end_of(TWO)).failed
    finally:
        await after.service.stop()
        await after.database.close()


async def test_go_daemon(server: World) -> None:
    """Containers of a Go daemon go on serving, and its history can be gone back to."""
    for identifier in (ONE, TWO):
        server.engine.have_image(f"shop:{identifier}")
        await server.database.run(_go_row, identifier)
    labels = {
        "dev.haloy.appName": "shop",
        "dev.haloy.deployment-id": TWO,
        "dev.haloy.domain.0": "shop.example.com",
    }
    spec = ContainerSpec(name=f"shop-{TWO}", image=f"shop:{TWO}", labels=labels)
    await server.engine.start(await server.engine.create(spec))
    after = await server.die()
    try:
        await after.service.start()
        await after.rest()
        assert [one.deployment for one in after.reported[-1]] == [TWO]
        targets = await after.service.rollback_targets(AppName("shop"))
        assert [one.id for one in targets] == [ONE]
        assert not (await after.deploy(THREE)).failed
        await after.rest()
        assert await after.versions() == {THREE}
    finally:
        await after.service.stop()
        await after.database.close()


def _go_row(cursor: sqlite3.Cursor, identifier: str) -> None:
    image = json.dumps({"repository": "shop", "tag": identifier}).encode()
    cursor.execute(
        "INSERT INTO deployments (id, app_name, raw_deploy_config, deployed_image) "
        "VALUES (?, 'shop', ?, ?)",
        (identifier, b'{"name": "shop"}', image),
    )
