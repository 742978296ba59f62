"""What old deployments leave goes, and only that."""

from __future__ import annotations

import sqlite3
from datetime import timedelta

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from haloy.config.app_file import History, ImageConfig
from haloy.deploy.retention import FAILED_KEPT, apply_retention
from haloy.errors import DeployFailed, NotFound
from haloy.model.names import AppName, DeploymentId
from haloy.store import deployments as rows
from tests.deploy.world import World, request

IDS = [f"01aaaaaaaa-{number}" for number in range(7)]


async def kept_are(server: World, ids: list[str]) -> None:
    """Return when these deployments are left, the newest first: rows go last."""
    found: list[str] = []
    for _ in range(100):
        kept = await server.database.run(rows.deployments_of, "shop", 10)
        found = [row.id for row in kept]
        if found == ids:
            return
        await deferLater(server.reactor, 0.02)
    assert found == ids


async def test_count(server: World) -> None:
    """Three are kept, the live one included; a person's own tag stays (D22)."""
    server.engine.have_image("shop:v2", image_id="sha256:mine")
    server.engine.have_image("other:latest")
    for number, one in enumerate(IDS[:5]):
        server.now += timedelta(hours=2)
        server.engine.have_image("shop:latest", image_id=f"sha256:{number}")
        await server.deploy(one)
        await server.settled(lambda: not server.service.draining)
    await server.settled(lambda: f"untag shop:{IDS[1]}" in server.engine.calls)
    tags = {tag for one in await server.engine.images("shop") for tag in one.tags}
    assert tags == {"shop:v2", "shop:latest", *(f"shop:{one}" for one in IDS[2:5])}
    await kept_are(server, IDS[4:1:-1])
    assert await server.engine.image("other:latest") is not None


async def test_ends_can_be_read_for_an_hour(server: World) -> None:
    """Of many at once each can still be told; images and targets go by their count."""
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{IDS[0]}"] = gate
    await server.submit(IDS[0])
    await server.settled(lambda: f"shop-{IDS[0]}" in server.readiness.asked)
    many = [f"01bbbbbbbb-{number:02}" for number in range(FAILED_KEPT + 5)]
    for one in many:
        await server.submit(one)
    gate.callback(None)
    assert not (await server.end_of(many[-1])).failed
    for one in IDS[1:5]:
        assert not (await server.deploy(one)).failed
    await server.settled(lambda: f"untag shop:{many[-1]}" in server.engine.calls)
    for one in many[:-1]:
        assert (await server.end_of(one)).fields["code"] == "superseded"
    for one in (IDS[0], many[-1]):
        assert not (await server.end_of(one)).failed
    targets = await server.service.rollback_targets(AppName("shop"))
    assert [one.id for one in targets] == [IDS[3], IDS[2]]
    with pytest.raises(NotFound):
        await server.service.rollback_request(
            DeploymentId(IDS[0]), DeploymentId(IDS[6]), request(IDS[6]).target, ""
        )


async def test_what_is_given_up_is_not_given_up_again(server: World) -> None:
    """While old deployments can still be read, nothing is written of them anew."""
    for one in IDS[:5]:
        await server.deploy(one)
        await server.settled(lambda: not server.service.draining)
    image = request(IDS[4]).target.image
    assert image is not None

    async def given_up() -> list[str]:
        await apply_retention(server.engine, server.database, AppName("shop"), image)
        kept = await server.database.run(rows.deployments_of, "shop", 10)
        return [row.id for row in kept if not row.image_ref]

    assert await given_up() == [IDS[1], IDS[0]]
    await server.database.run(watch)
    assert await given_up() == [IDS[1], IDS[0]]
    assert await server.database.run(watched) == []


def watch(cursor: sqlite3.Cursor) -> None:
    """Note from now on whose image is written, be it the same."""
    cursor.execute("CREATE TEMP TABLE written (id TEXT)")
    cursor.execute(
        "CREATE TEMP TRIGGER note AFTER UPDATE OF image_ref ON deployment "
        "BEGIN INSERT INTO written VALUES (new.id); END"
    )


def watched(cursor: sqlite3.Cursor) -> list[str]:
    """Return for whom it was, by the only connection."""
    return [one for (one,) in cursor.execute("SELECT id FROM written")]


async def test_target_of_a_rollback_that_waits(server: World) -> None:
    """It is still there when the rollback begins, however many are newer."""
    for number, one in enumerate(IDS[:3]):
        server.engine.have_image("shop:latest", image_id=f"sha256:{number}")
        await server.deploy(one)
        await server.settled(lambda: not server.service.draining)
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{IDS[3]}"] = gate
    server.engine.have_image("shop:latest", image_id="sha256:3")
    await server.submit(IDS[3])
    await server.settled(lambda: f"shop-{IDS[3]}" in server.readiness.asked)
    back = await server.service.rollback_request(
        DeploymentId(IDS[0]), DeploymentId(IDS[4]), request(IDS[4]).target, ""
    )
    await server.service.submit(back)
    gate.callback(None)
    assert not (await server.end_of(IDS[3])).failed
    assert not (await server.end_of(IDS[4])).failed
    await server.settled(lambda: not server.service.draining)
    (runs,) = await server.containers()
    assert runs.image_id == "sha256:0"


async def test_history_in_a_registry(server: World) -> None:
    """Only the live image stays here; older versions can be pulled again."""
    history = History(strategy="registry", count=3, pattern="v*")
    for one in IDS[:3]:
        image = ImageConfig("shop", "latest", pull_policy="never", history=history)
        server.engine.have_image("shop:latest", image_id=f"sha256:{one}")
        asked = request(one, image=image)
        stored = {"image": {"repository": "shop", "history": {"strategy": "registry"}}}
        await server.service.submit(evolve(asked, stored=stored))
        await server.end_of(one)
        await server.settled(lambda: not server.service.draining)
    await server.settled(lambda: f"untag shop:{IDS[1]}" in server.engine.calls)
    targets = await server.service.rollback_targets(AppName("shop"))
    assert [one.id for one in targets] == [IDS[1], IDS[0]]


async def test_no_history(server: World) -> None:
    """Without history nothing is tagged and nothing is removed."""
    image = ImageConfig(
        "shop", "latest", pull_policy="never", history=History(strategy="none")
    )
    for one in IDS[:3]:
        server.now += timedelta(hours=2)
        await server.deploy(one, image=image)
        await server.settled(lambda: not server.service.draining)
    assert not [one for one in server.engine.calls if "tag" in one]
    await kept_are(server, [IDS[2]])


async def test_failed_ones_keep_their_log(server: World) -> None:
    """Failed deployments are remembered beside those that served."""
    await server.deploy(IDS[0])
    server.readiness.failing[f"shop-{IDS[1]}"] = DeployFailed("no", failure="exited")
    await server.deploy(IDS[1])
    await server.deploy(IDS[2])
    assert (await server.end_of(IDS[1])).fields["code"] == "exited"
