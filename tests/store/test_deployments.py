"""Deployments and what should serve."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from haloy.model.names import AppName, DeploymentId
from haloy.store import apps
from haloy.store import deployments as rows
from haloy.store.database import Database
from haloy.store.deployments import DeploymentRow, NewDeployment
from haloy.store.logs import LogRow, read_log
from haloy.store.replicas import add_replica, replicas_of, set_container
from tests.store.conftest import NOW

SHOP = AppName("shop")
ONE, TWO, THREE = DeploymentId("one"), DeploymentId("two"), DeploymentId("three")


def line(identifier: str, app: str = "shop", **values: Any) -> LogRow:
    return LogRow(app, identifier, "INFO", "said", NOW, **values)


async def add(store: Database, identifier: DeploymentId, app: AppName = SHOP) -> Any:
    new = NewDeployment(
        app, identifier, {"secret": "x"}, {"name": app}, "f", "me", None, NOW
    )
    return await store.run(rows.add_deployment, new, line(identifier, app))


async def row_of(store: Database, identifier: str, app: str = "shop") -> DeploymentRow:
    row = await store.run(rows.find_deployment, app, identifier)
    assert row is not None
    return row


async def live(store: Database, identifier: DeploymentId, *old: str) -> None:
    await add(store, identifier)
    row = await row_of(store, identifier)
    shared = {"name": "shop"}, {"repository": "shop", "tag": identifier}
    end = line(identifier, complete=True)
    await store.run(rows.go_live, row, old, end, shared)


def shared_rows(cursor: sqlite3.Cursor) -> list[Any]:
    cursor.execute(
        "SELECT id, app_name, raw_deploy_config, typeof(deployed_image) "
        "FROM deployments ORDER BY rowid"
    )
    return cursor.fetchall()


async def test_queued_with_its_first_line(store: Database) -> None:
    """A deployment and the first line of its log are there together."""
    assert await add(store, ONE) is None
    row = await row_of(store, ONE)
    assert (row.state, row.asked_by, row.created_at) == ("queued", "me", NOW)
    assert len(await store.run(read_log, "shop", ONE, 0)) == 1


async def test_one_id_of_two_apps(store: Database) -> None:
    """(app, id) is the key; the same again gives what is there (A22)."""
    await add(store, ONE)
    assert await add(store, ONE, AppName("blog")) is None
    again = await add(store, ONE)
    assert again is not None
    assert again.seq == 1
    found = await store.run(rows.deployments_by_id, ONE)
    assert [row.app for row in found] == ["blog", "shop"]


async def test_order_is_ours(store: Database) -> None:
    """Newest first by the order of arrival, never by the text of ids (D18)."""
    for one in ("z", "a", "m"):
        await add(store, DeploymentId(one))
    found = await store.run(rows.deployments_of, "shop", 2)
    assert [row.id for row in found] == ["m", "a"]


async def test_going_live(store: Database) -> None:
    """State, predecessor, drains, end marker and the shared row change together."""
    await live(store, ONE)
    await store.run(add_replica, "shop-one", "shop", ONE, 1)
    await store.run(set_container, "shop-one", "c1")
    await live(store, TWO, "c1")
    assert (await row_of(store, ONE)).state == "retired"
    assert (await row_of(store, TWO)).state == "draining"
    app = await store.run(apps.find_app, "shop")
    assert app == apps.AppRow(SHOP, TWO, False)
    assert [one.draining for one in await store.run(replicas_of, "shop")] == [True]
    assert (await store.run(read_log, "shop", TWO, 0))[-1].complete
    assert [row.id for row in await store.run(rows.active_deployments)] == [TWO]


async def test_secrets_are_forgotten(store: Database) -> None:
    """Only the live deployment keeps its resolved values (D19)."""
    await live(store, ONE)
    await live(store, TWO)
    await add(store, THREE)
    await store.run(rows.end_dead, "failed", "oom", "why", line(THREE))
    targets = [(await row_of(store, one)).target for one in (ONE, TWO, THREE)]
    assert targets == [{}, {"secret": "x"}, {}]
    dead = await row_of(store, THREE)
    assert (dead.state, dead.failure, dead.reason) == ("failed", "oom", "why")


async def test_rows_for_the_go_daemon(store: Database) -> None:
    """They are bytes, as it reads them; the first app keeps a shared id."""
    await live(store, ONE)
    await add(store, ONE, AppName("blog"))
    row = await row_of(store, ONE, "blog")
    end = line(ONE, "blog", complete=True)
    await store.run(rows.go_live, row, (), end, ({"name": "blog"}, {}))
    ((identifier, app, raw, kind),) = await store.run(shared_rows)
    assert (identifier, app, json.loads(raw), kind) == (
        ONE,
        "shop",
        {"name": "shop"},
        "blob",
    )
    assert isinstance(raw, bytes)


async def test_unfinished(store: Database) -> None:
    """What is under way is found after a restart, oldest first."""
    await live(store, ONE)
    await add(store, TWO)
    await add(store, THREE)
    await store.run(rows.set_state, "shop", TWO, "checking")
    found = await store.run(rows.unfinished_deployments)
    assert [(row.id, row.state) for row in found] == [
        (TWO, "checking"),
        (THREE, "queued"),
    ]


async def test_image_is_remembered(store: Database) -> None:
    """Reference and id of what runs are kept with the deployment."""
    await add(store, ONE)
    await store.run(rows.set_image, "shop", ONE, "shop:one", "sha256:1")
    row = await row_of(store, ONE)
    assert (row.image_ref, row.image_id) == ("shop:one", "sha256:1")


async def test_adoption(store: Database) -> None:
    """What runs without a row gets one and is what should run; once."""
    await store.run(apps.adopt, [("shop", ONE, "shop:one")], NOW)
    await store.run(apps.adopt, [("shop", TWO, "shop:two")], NOW)
    app = await store.run(apps.find_app, "shop")
    assert app is not None
    assert app.active == ONE
    row = await row_of(store, ONE)
    assert (row.state, row.image_ref, row.target) == ("live", "shop:one", {})


async def test_stopped_until_the_next_deployment(store: Database) -> None:
    """A stopped app stays stopped until something goes live again."""
    await live(store, ONE)
    await store.run(apps.set_stopped, "shop")
    assert [one.stopped for one in await store.run(apps.all_apps)] == [True]
    await live(store, TWO)
    assert [one.stopped for one in await store.run(apps.all_apps)] == [False]
    assert await store.run(apps.find_app, "blog") is None


async def test_taken_over_ids(store: Database) -> None:
    """Ours are not among what a Go daemon made."""
    await live(store, ONE)
    assert await store.run(rows.taken_over_ids) == set()
