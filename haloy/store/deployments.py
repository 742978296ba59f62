"""Deployments, from queued to ended, as rows. Each function is one transaction."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from haloy.model.names import AppName, DeploymentId
from haloy.store.logs import LogRow, add_log
from haloy.store.replicas import set_draining

#: States in which a deployment still has work to do.
UNFINISHED = ("queued", "pulling", "starting", "checking")
#: States of deployments that have served: they can be rolled back to.
SERVED = ("live", "draining", "retired")
#: States of deployments that never served: what is left of them is removed.
DEAD = ("failed", "superseded", "interrupted")

_SELECT = (
    "SELECT seq, app, id, state, target, stored, fingerprint, image_ref, image_id, "
    "asked_by, rolled_back_from, failure, reason, created_at, finished_at "
    "FROM deployment "
)
_UNFINISHED_SQL = "('queued', 'pulling', 'starting', 'checking')"


@frozen
class DeploymentRow:
    """One deployment; C{target} and C{stored} are JSON objects.

    C{target} has literal secrets: it is emptied when nothing can need it any more.
    """

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
    finished_at: datetime | None = None


@frozen
class NewDeployment:
    """A deployment as it is queued; C{fingerprint} identifies the request's body."""

    app: AppName
    id: DeploymentId
    target: Mapping[str, Any] = field(repr=False)
    stored: Mapping[str, Any] = field(repr=False)
    fingerprint: str
    asked_by: str
    rolled_back_from: DeploymentId | None
    created_at: datetime


# --- asking -----------------------------------------------------------------------


def find_deployment(
    cursor: sqlite3.Cursor, app: str, identifier: str
) -> DeploymentRow | None:
    """Return one deployment."""
    cursor.execute(_SELECT + "WHERE app = ? AND id = ?", (app, identifier))
    row = cursor.fetchone()
    return None if row is None else _deployment(row)


def deployments_by_id(cursor: sqlite3.Cursor, identifier: str) -> list[DeploymentRow]:
    """Return the deployments of all apps under one id, newest first."""
    cursor.execute(_SELECT + "WHERE id = ? ORDER BY seq DESC", (identifier,))
    return [_deployment(row) for row in cursor.fetchall()]


def deployments_of(cursor: sqlite3.Cursor, app: str, limit: int) -> list[DeploymentRow]:
    """Return an app's deployments, newest first."""
    cursor.execute(_SELECT + "WHERE app = ? ORDER BY seq DESC LIMIT ?", (app, limit))
    return [_deployment(row) for row in cursor.fetchall()]


def newest_deployments(
    cursor: sqlite3.Cursor, app: str | None, limit: int, before: int
) -> list[DeploymentRow]:
    """Return deployments, newest first.

    @param app: only of this app; C{None}: of all.
    @param before: only those with a smaller number; 0: from the newest on.
    """
    cursor.execute(
        _SELECT + "WHERE (? IS NULL OR app = ?) AND (? = 0 OR seq < ?) "
        "ORDER BY seq DESC LIMIT ?",
        (app, app, before, before, limit),
    )
    return [_deployment(row) for row in cursor.fetchall()]


def predecessor(cursor: sqlite3.Cursor, row: DeploymentRow) -> DeploymentRow | None:
    """Return what had served C{row}'s app last when C{row} came."""
    cursor.execute(
        _SELECT + "WHERE app = ? AND seq < ? AND stored != '{}' AND state IN "
        "('live', 'draining', 'retired') ORDER BY seq DESC LIMIT 1",
        (row.app, row.seq),
    )
    found = cursor.fetchone()
    return None if found is None else _deployment(found)


def unfinished_deployments(cursor: sqlite3.Cursor) -> list[DeploymentRow]:
    """Return what was queued or under way, oldest first."""
    cursor.execute(_SELECT + f"WHERE state IN {_UNFINISHED_SQL} ORDER BY seq")
    return [_deployment(row) for row in cursor.fetchall()]


def taken_over_ids(cursor: sqlite3.Cursor) -> set[tuple[str, str]]:
    """Return (app, id) of the deployments that a Go daemon made."""
    cursor.execute("SELECT app, id FROM deployment WHERE fingerprint = ''")
    return {(app, identifier) for app, identifier in cursor.fetchall()}


def active_deployments(cursor: sqlite3.Cursor) -> list[DeploymentRow]:
    """Return the deployment that should serve, for every app."""
    where = "WHERE EXISTS (SELECT 1 FROM app a WHERE a.name = app AND a.active = id)"
    cursor.execute(_SELECT + where)
    return [_deployment(row) for row in cursor.fetchall()]


# --- a deployment's way -------------------------------------------------------------


def add_deployment(
    cursor: sqlite3.Cursor, new: NewDeployment, line: LogRow
) -> DeploymentRow | None:
    """Queue a deployment and write the first line of its log.

    Returns the row that is there already instead, if any; then nothing changes.
    """
    found = find_deployment(cursor, new.app, new.id)
    if found is not None:
        return found
    cursor.execute(
        "INSERT INTO deployment (app, id, state, target, stored, fingerprint, "
        "asked_by, rolled_back_from, created_at) "
        "VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
        (
            new.app,
            new.id,
            json.dumps(new.target),
            json.dumps(new.stored),
            new.fingerprint,
            new.asked_by,
            new.rolled_back_from,
            new.created_at.isoformat(),
        ),
    )
    add_log(cursor, line)
    return None


def set_state(cursor: sqlite3.Cursor, app: str, identifier: str, state: str) -> None:
    """Move a deployment to C{state}."""
    cursor.execute(
        "UPDATE deployment SET state = ? WHERE app = ? AND id = ?",
        (state, app, identifier),
    )


def set_image(
    cursor: sqlite3.Cursor, app: str, identifier: str, ref: str, image_id: str
) -> None:
    """Remember which image a deployment runs."""
    cursor.execute(
        "UPDATE deployment SET image_ref = ?, image_id = ? WHERE app = ? AND id = ?",
        (ref, image_id, app, identifier),
    )


def go_live(
    cursor: sqlite3.Cursor,
    row: DeploymentRow,
    old: Iterable[str],
    line: LogRow,
    shared: tuple[Mapping[str, Any], Mapping[str, Any]] | None,
) -> None:
    """Say that C{row} serves its app from now on, all of it or nothing.

    @param old: the containers that only finish what they have.
    @param line: the end marker.
    @param shared: configuration and image as a Go daemon would know them.
    """
    old = tuple(old)
    cursor.execute(
        "UPDATE deployment SET state = 'retired', target = '{}' WHERE app = ? "
        "AND id != ? AND state IN ('live', 'draining')",
        (row.app, row.id),
    )
    cursor.execute(
        "INSERT INTO app (name, active) VALUES (?, ?) ON CONFLICT (name) "
        "DO UPDATE SET active = excluded.active, stopped = 0",
        (row.app, row.id),
    )
    _finish(cursor, "draining" if old else "live", line)
    set_draining(cursor, old)
    if shared is not None:
        _share(cursor, row, *shared)


def note_failure(
    cursor: sqlite3.Cursor, app: str, identifier: str, failure: str, reason: str
) -> None:
    """Remember why a deployment fails, before its end: should that never be told."""
    cursor.execute(
        "UPDATE deployment SET failure = ?, reason = ? WHERE app = ? AND id = ?",
        (failure, reason, app, identifier),
    )


def end_dead(
    cursor: sqlite3.Cursor, state: str, failure: str, reason: str, line: LogRow
) -> None:
    """Record that a deployment ended without going live, and forget its secrets.

    @param line: its end marker.
    """
    # Before the state: the event of that change (migration 004) tells the reason.
    cursor.execute(
        "UPDATE deployment SET failure = ?, reason = ?, target = '{}' "
        "WHERE app = ? AND id = ?",
        (failure, reason, line.app, line.deployment),
    )
    _finish(cursor, state, line)


def _finish(cursor: sqlite3.Cursor, state: str, line: LogRow) -> None:
    cursor.execute(
        "UPDATE deployment SET state = ?, finished_at = ? WHERE app = ? AND id = ?",
        (state, line.at.isoformat(), line.app, line.deployment),
    )
    add_log(cursor, line)


def _share(
    cursor: sqlite3.Cursor,
    row: DeploymentRow,
    stored: Mapping[str, Any],
    image: Mapping[str, Any],
) -> None:
    """Write the row by which a Go daemon would know this deployment.

    As bytes: Go reads these columns into bytes. Its key is the id alone, so of
    several apps under one id the first keeps it.
    """
    cursor.execute(
        "INSERT OR IGNORE INTO deployments "
        "(id, app_name, raw_deploy_config, deployed_image, rolled_back_from) "
        "VALUES (?, ?, ?, ?, (SELECT id FROM deployments WHERE id = ?))",
        (
            row.id,
            row.app,
            json.dumps(stored).encode(),
            json.dumps(image).encode(),
            row.rolled_back_from,
        ),
    )


def end_draining(cursor: sqlite3.Cursor, app: str) -> None:
    """Note that nothing of C{app}'s former deployments is left to drain."""
    cursor.execute(
        "UPDATE deployment SET state = 'live' WHERE app = ? AND state = 'draining'",
        (app,),
    )


# --- counting ---------------------------------------------------------------------


def states_in_progress(cursor: sqlite3.Cursor) -> dict[str, int]:
    """Return how many deployments wait or run, by state."""
    cursor.execute(
        f"SELECT state, count(*) FROM deployment WHERE state IN {_UNFINISHED_SQL} "  # noqa: S608  (a constant)
        "GROUP BY state"
    )
    return {str(state): int(count) for state, count in cursor.fetchall()}


def ended_behind(
    cursor: sqlite3.Cursor, line: int
) -> list[tuple[int, str, str, str, str]]:
    """Return what has ended behind C{line}, the number of a line of a log.

    As number of the end marker, app, state, beginning and end, by that number.
    """
    cursor.execute(
        "SELECT end.seq, d.app, d.state, d.created_at, d.finished_at "
        "FROM deploy_log AS end JOIN deployment AS d "
        "ON d.app = end.app AND d.id = end.deployment "
        "WHERE end.complete AND end.seq > ? AND d.finished_at IS NOT NULL "
        "ORDER BY end.seq",
        (line,),
    )
    return [
        (int(seq), str(app), str(state), str(begun), str(ended))
        for seq, app, state, begun, ended in cursor.fetchall()
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
        finished_at=None if row[14] is None else datetime.fromisoformat(row[14]),
    )
