"""A data directory of the Go daemon, opened by ours."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest_twisted

from haloy.store import deployments as rows
from haloy.store.database import Database
from haloy.store.takeover import TakenOver, take_over

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
FIRST = "01m83qp9yk95bywg6s9x0fcxr4"
SECOND = "01m83qq000000000000000000z"

#: As the Go daemon's first version made them: layers without diff_id.
GO_SCHEMA = """
CREATE TABLE deployments (
    id TEXT PRIMARY KEY, app_name TEXT NOT NULL, raw_deploy_config JSON NOT NULL,
    deployed_image JSON NOT NULL,
    rolled_back_from TEXT NULL REFERENCES deployments(id)
);
CREATE INDEX idx_deployments_app_name ON deployments (app_name);
CREATE TABLE layers (
    digest TEXT PRIMARY KEY, size INTEGER NOT NULL,
    created_at DATETIME, last_used_at DATETIME
);
CREATE INDEX idx_layers_last_used_at ON layers (last_used_at);
"""


def go_row(identifier: str, app: str = "shop", config: bytes | None = None) -> Any:
    raw = {"name": app, "image": {"repository": app}, "secretProviders": {}}
    image = {"repository": app, "tag": identifier}
    return (
        identifier,
        app,
        json.dumps(raw).encode() if config is None else config,
        json.dumps(image).encode(),
    )


def write_go_database(path: Path, *deployments: Any) -> None:
    path.parent.mkdir(mode=0o700)
    with sqlite3.connect(path) as connection:
        connection.executescript(GO_SCHEMA)
        connection.executemany(
            "INSERT INTO deployments "
            "(id, app_name, raw_deploy_config, deployed_image) VALUES (?, ?, ?, ?)",
            deployments,
        )
        connection.execute(
            "INSERT INTO layers VALUES ('sha256:aa', 5, "
            "'2026-07-20 10:00:00.1 +0000 UTC m=+12.5', '')"
        )
    connection.close()


@pytest_twisted.async_yield_fixture
async def go_database(tmp_path: Path, reactor: Any) -> AsyncIterator[Database]:
    write_go_database(
        tmp_path / "db" / "haloy.db", go_row(SECOND), go_row(FIRST), go_row("x", "api")
    )
    opened = Database(tmp_path / "db" / "haloy.db", reactor, lambda: NOW)
    await opened.open()
    yield opened
    await opened.close()


async def test_history_is_there(go_database: Database) -> None:
    """Deployments of the Go daemon are ours afterwards, newest row first."""
    done = await go_database.run(take_over, NOW)
    found = await go_database.run(rows.deployments_of, "shop", 10)
    assert done.deployments == (("shop", SECOND), ("shop", FIRST), ("api", "x"))
    assert [one.id for one in found] == [FIRST, SECOND]  # by row, not by id (D18)
    assert [one.state for one in found] == ["retired", "retired"]
    assert found[0].image_ref == f"shop:{FIRST}"
    assert found[0].stored["secretProviders"] == {}


async def test_age_of_a_ulid(go_database: Database) -> None:
    """A deployment is as old as its id says; one by another id is from now."""
    await go_database.run(take_over, NOW)
    (api,) = await go_database.run(rows.deployments_of, "api", 10)
    shop = await go_database.run(rows.deployments_of, "shop", 10)
    assert api.created_at == NOW
    assert shop[0].created_at != NOW


async def test_nothing_twice(go_database: Database) -> None:
    """A second start takes over only what was written in between."""
    await go_database.run(take_over, NOW)
    assert await go_database.run(take_over, NOW) == TakenOver()


async def test_layers_get_their_column(go_database: Database) -> None:
    """The column that old Go daemons lack is added; their rows stay (section 10)."""

    def read(cursor: sqlite3.Cursor) -> list[Any]:
        cursor.execute("SELECT digest, size, diff_id FROM layers")
        return cursor.fetchall()

    await go_database.run(take_over, NOW)
    assert await go_database.run(read) == [("sha256:aa", 5, "")]


async def test_unreadable_row(tmp_path: Path, reactor: Any) -> None:
    """A row whose JSON is none costs only itself."""
    path = tmp_path / "other" / "haloy.db"
    write_go_database(path, go_row("bad", config=b"{"), go_row("worse", config=b"[]"))
    opened = Database(path, reactor, lambda: NOW)
    await opened.open()
    try:
        done = await opened.run(take_over, NOW)
    finally:
        await opened.close()
    assert done == TakenOver(unreadable=("bad", "worse"))
