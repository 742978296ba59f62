"""What should serve each app, as rows. Each function is one transaction.

An app's row is written by L{haloy.store.deployments.go_live}, too: what serves changes
together with the deployment's state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime

from attrs import frozen

from haloy.model.names import AppName, DeploymentId


@frozen
class AppRow:
    """What should serve an app; C{stopped}: nothing, on purpose."""

    name: AppName
    active: DeploymentId
    stopped: bool


def _row(name: str, active: str, stopped: int) -> AppRow:
    return AppRow(AppName(name), DeploymentId(active), bool(stopped))


def all_apps(cursor: sqlite3.Cursor) -> list[AppRow]:
    """Return what should serve, by name."""
    cursor.execute("SELECT name, active, stopped FROM app ORDER BY name")
    return [_row(*found) for found in cursor.fetchall()]


def find_app(cursor: sqlite3.Cursor, app: str) -> AppRow | None:
    """Return what should serve C{app}."""
    cursor.execute("SELECT name, active, stopped FROM app WHERE name = ?", (app,))
    found = cursor.fetchone()
    return None if found is None else _row(*found)


def set_stopped(cursor: sqlite3.Cursor, app: str) -> None:
    """Note that C{app} was stopped on purpose."""
    cursor.execute("UPDATE app SET stopped = 1 WHERE name = ?", (app,))


def adopt(
    cursor: sqlite3.Cursor, found: Iterable[tuple[str, str, str]], now: datetime
) -> None:
    """Let what runs be what should run: of apps that have no row of their own still.

    @param found: app, deployment, and the reference its containers were made from.
    """
    for app, identifier, image in found:
        cursor.execute("SELECT 1 FROM app WHERE name = ?", (app,))
        if cursor.fetchone() is not None:
            continue
        cursor.execute(
            "INSERT OR IGNORE INTO deployment (app, id, state, target, stored, "
            "fingerprint, image_ref, created_at) VALUES (?, ?, 'live', '{}', '{}', "
            "'adopted', ?, ?)",
            (app, identifier, image, now.isoformat()),
        )
        cursor.execute(
            "UPDATE deployment SET state = 'live' WHERE app = ? AND id = ?",
            (app, identifier),
        )
        cursor.execute(
            "INSERT INTO app (name, active) VALUES (?, ?)", (app, identifier)
        )
