"""Desired state and history, as rows. Each function is one transaction's work."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from haloy.model.names import AppName, DeploymentId

LOG_LINES_LIMIT = 1000

_COLUMNS = (
    "seq, app, id, state, target, stored, fingerprint, image_ref, image_id, "
    "asked_by, rolled_back_from, failure, reason, created_at"
)


@frozen
class DeploymentRow:
    """One deployment; C{target} and C{stored} are JSON objects."""

    seq: int
    app: AppName
    id: DeploymentId
    state: str
    target: Mapping[str, Any] = field(repr=False)
    stored: Mapping[str, Any] = field(repr=False)
    fingerprint: str
    image_ref: str
    image_id: str
    asked_by: str
    rolled_back_from: DeploymentId | None
    failure: str
    reason: str
    created_at: datetime


@frozen
class ReplicaRow:
    """One container of ours, by its name; C{container_id} is C{""} until created."""

    name: str
    app: AppName
    deployment: DeploymentId
    number: int
    container_id: str
    draining: bool


@frozen
class AppRow:
    """What should serve an app."""

    name: AppName
    active: DeploymentId
    stopped: bool


@frozen
class LogRow:
    """One line of a deployment's log."""

    seq: int
    app: str
    deployment: str
    level: str
    message: str
    at: datetime
    domains: tuple[str, ...]
    fields: Mapping[str, str]
    complete: bool
    failed: bool


# --- deployments --------------------------------------------------------------


def add_deployment(
    cursor: sqlite3.Cursor,
    app: AppName,
    identifier: DeploymentId,
    target: Mapping[str, Any],
    stored: Mapping[str, Any],
    fingerprint: str,
    asked_by: str,
    rolled_back_from: DeploymentId | None,
    now: datetime,
) -> DeploymentRow | None:
    """Queue a deployment; return the row that is there already instead, if any."""
    found = find_deployment(cursor, app, identifier)
    if found is not None:
        return found
    cursor.execute(
        "INSERT INTO deployment (app, id, state, target, stored, fingerprint, "
        "asked_by, rolled_back_from, created_at) "
        "VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
        (
            app,
            identifier,
            json.dumps(target),
            json.dumps(stored),
            fingerprint,
            asked_by,
            rolled_back_from,
            now.isoformat(),
        ),
    )
    return None


def find_deployment(
    cursor: sqlite3.Cursor, app: str, identifier: str
) -> DeploymentRow | None:
    """Return one deployment."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM deployment WHERE app = ? AND id = ?",  # noqa: S608  (constant columns)
        (app, identifier),
    )
    row = cursor.fetchone()
    return None if row is None else _deployment(row)


def deployments_by_id(cursor: sqlite3.Cursor, identifier: str) -> list[DeploymentRow]:
    """Return the deployments of all apps under one id, newest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM deployment WHERE id = ? ORDER BY seq DESC",  # noqa: S608  (constant columns)
        (identifier,),
    )
    return [_deployment(row) for row in cursor.fetchall()]


def deployments_of(cursor: sqlite3.Cursor, app: str, limit: int) -> list[DeploymentRow]:
    """Return an app's deployments, newest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM deployment WHERE app = ? ORDER BY seq DESC LIMIT ?",  # noqa: S608  (constant columns)
        (app, limit),
    )
    return [_deployment(row) for row in cursor.fetchall()]


def unfinished_deployments(cursor: sqlite3.Cursor) -> list[DeploymentRow]:
    """Return what was queued or under way, oldest first."""
    cursor.execute(
        f"SELECT {_COLUMNS} FROM deployment WHERE state IN "  # noqa: S608  (constant columns)
        "('queued', 'pulling', 'starting', 'checking') ORDER BY seq"
    )
    return [_deployment(row) for row in cursor.fetchall()]


def set_state(
    cursor: sqlite3.Cursor,
    app: str,
    identifier: str,
    state: str,
    failure: str = "",
    reason: str = "",
    finished_at: datetime | None = None,
) -> None:
    """Move a deployment to C{state}."""
    cursor.execute(
        "UPDATE deployment SET state = ?, failure = ?, reason = ?, "
        "finished_at = coalesce(?, finished_at) WHERE app = ? AND id = ?",
        (
            state,
            failure,
            reason,
            finished_at and finished_at.isoformat(),
            app,
            identifier,
        ),
    )


def set_image(
    cursor: sqlite3.Cursor, app: str, identifier: str, ref: str, image_id: str
) -> None:
    """Remember which image a deployment runs."""
    cursor.execute(
        "UPDATE deployment SET image_ref = ?, image_id = ? WHERE app = ? AND id = ?",
        (ref, image_id, app, identifier),
    )


def forget_deployments(cursor: sqlite3.Cursor, app: str, ids: list[str]) -> None:
    """Drop old deployments of C{app} with their logs, here and in the shared table."""
    for one in ids:
        for table, key in (
            ("deployment", "id"),
            ("deploy_log", "deployment"),
            ("replica", "deployment"),
        ):
            cursor.execute(
                f"DELETE FROM {table} WHERE app = ? AND {key} = ?",  # noqa: S608  (names from above)
                (app, one),
            )
        cursor.execute(
            "DELETE FROM deployments WHERE app_name = ? AND id = ?", (app, one)
        )


def share_deployment(
    cursor: sqlite3.Cursor,
    app: str,
    identifier: str,
    stored: Mapping[str, Any],
    image: Mapping[str, Any],
) -> None:
    """Write the row by which a Go daemon would know this deployment."""
    cursor.execute(
        "INSERT OR REPLACE INTO deployments "
        "(id, app_name, raw_deploy_config, deployed_image) VALUES (?, ?, ?, ?)",
        (identifier, app, json.dumps(stored), json.dumps(image)),
    )


# --- apps -----------------------------------------------------------------------


def activate(cursor: sqlite3.Cursor, app: str, identifier: str) -> None:
    """Say which deployment should serve C{app}; the secrets of others are dropped."""
    cursor.execute(
        "INSERT INTO app (name, active) VALUES (?, ?) ON CONFLICT (name) "
        "DO UPDATE SET active = excluded.active, stopped = 0",
        (app, identifier),
    )
    cursor.execute(
        "UPDATE deployment SET state = 'retired' WHERE app = ? AND id != ? "
        "AND state IN ('live', 'draining')",
        (app, identifier),
    )
    cursor.execute(
        "UPDATE deployment SET target = '{}' WHERE app = ? AND id != ? "
        "AND state NOT IN ('queued', 'pulling', 'starting', 'checking')",
        (app, identifier),
    )


def set_stopped(cursor: sqlite3.Cursor, app: str) -> None:
    """Note that C{app} was stopped on purpose."""
    cursor.execute("UPDATE app SET stopped = 1 WHERE name = ?", (app,))


def apps(cursor: sqlite3.Cursor) -> list[AppRow]:
    """Return what should serve, by name."""
    cursor.execute("SELECT name, active, stopped FROM app ORDER BY name")
    return [
        AppRow(AppName(name), DeploymentId(active), bool(stopped))
        for name, active, stopped in cursor.fetchall()
    ]


# --- replicas -------------------------------------------------------------------


def add_replica(
    cursor: sqlite3.Cursor, name: str, app: str, deployment: str, number: int
) -> None:
    """Announce a container before it is created."""
    cursor.execute(
        "INSERT OR REPLACE INTO replica (name, app, deployment, number) "
        "VALUES (?, ?, ?, ?)",
        (name, app, deployment, number),
    )


def set_container(cursor: sqlite3.Cursor, name: str, container_id: str) -> None:
    """Remember the id of a created container."""
    cursor.execute(
        "UPDATE replica SET container_id = ? WHERE name = ?", (container_id, name)
    )


def rename_replica(cursor: sqlite3.Cursor, name: str, to: str) -> None:
    """Follow a rename of the container."""
    cursor.execute("UPDATE OR REPLACE replica SET name = ? WHERE name = ?", (to, name))


def set_draining(cursor: sqlite3.Cursor, container_ids: list[str]) -> None:
    """Note that containers only finish what they have."""
    for one in container_ids:
        cursor.execute("UPDATE replica SET draining = 1 WHERE container_id = ?", (one,))


def forget_replicas(cursor: sqlite3.Cursor, container_ids: list[str]) -> None:
    """Drop the rows of removed containers."""
    for one in container_ids:
        cursor.execute("DELETE FROM replica WHERE container_id = ?", (one,))


def replicas(cursor: sqlite3.Cursor) -> list[ReplicaRow]:
    """Return all containers that are ours."""
    cursor.execute(
        "SELECT name, app, deployment, number, container_id, draining FROM replica"
    )
    return [
        ReplicaRow(
            name, AppName(app), DeploymentId(deployment), number, container, bool(flag)
        )
        for name, app, deployment, number, container, flag in cursor.fetchall()
    ]


# --- log ------------------------------------------------------------------------


def add_log(
    cursor: sqlite3.Cursor,
    app: str,
    deployment: str,
    level: str,
    message: str,
    at: datetime,
    domains: tuple[str, ...],
    fields: Mapping[str, str],
    complete: bool,
    failed: bool,
) -> int:
    """Append a line and return its number; the oldest go beyond the limit."""
    cursor.execute(
        "INSERT INTO deploy_log (app, deployment, level, message, at, domains, fields, "
        "complete, failed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            app,
            deployment,
            level,
            message,
            at.isoformat(),
            json.dumps(domains),
            json.dumps(dict(fields)),
            complete,
            failed,
        ),
    )
    seq = int(cursor.lastrowid or 0)
    cursor.execute(
        "DELETE FROM deploy_log WHERE app = ? AND deployment = ? AND seq <= "
        "(SELECT seq FROM deploy_log WHERE app = ? AND deployment = ? "
        "ORDER BY seq DESC LIMIT 1 OFFSET ?)",
        (app, deployment, app, deployment, LOG_LINES_LIMIT),
    )
    return seq


def read_log(
    cursor: sqlite3.Cursor, app: str, deployment: str, after: int
) -> list[LogRow]:
    """Return the lines behind number C{after}, oldest first."""
    cursor.execute(
        "SELECT seq, app, deployment, level, message, at, domains, fields, complete, "
        "failed FROM deploy_log WHERE app = ? AND deployment = ? AND seq > ? "
        "ORDER BY seq",
        (app, deployment, after),
    )
    return [
        LogRow(
            seq=row[0],
            app=row[1],
            deployment=row[2],
            level=row[3],
            message=row[4],
            at=datetime.fromisoformat(row[5]),
            domains=tuple(json.loads(row[6])),
            fields=json.loads(row[7]),
            complete=bool(row[8]),
            failed=bool(row[9]),
        )
        for row in cursor.fetchall()
    ]


def _deployment(row: tuple[Any, ...]) -> DeploymentRow:
    return DeploymentRow(
        seq=row[0],
        app=AppName(row[1]),
        id=DeploymentId(row[2]),
        state=row[3],
        target=json.loads(row[4]),
        stored=json.loads(row[5]),
        fingerprint=row[6],
        image_ref=row[7],
        image_id=row[8],
        asked_by=row[9],
        rolled_back_from=None if row[10] is None else DeploymentId(row[10]),
        failure=row[11],
        reason=row[12],
        created_at=datetime.fromisoformat(row[13]),
    )
