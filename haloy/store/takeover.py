"""What a Go daemon has written in the tables it shares with us, made ours.

Done at every start, in one transaction: a server may have gone back to the Go
daemon for a while. Nothing of the shared tables is changed but one column that old
versions lack.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from typing import Any

from attrs import frozen

from haloy.config.app_file import ImageConfig
from haloy.config.images import image_ref
from haloy.model.names import deployment_time


@frozen
class TakenOver:
    """What was new: deployments as (app, id) in the order of the Go daemon's rows.

    C{unreadable} are ids of rows whose JSON is none; they are left as they are.
    """

    deployments: tuple[tuple[str, str], ...] = ()
    unreadable: tuple[str, ...] = ()


def take_over(cursor: sqlite3.Cursor, now: datetime) -> TakenOver:
    """Add the Go daemon's deployments to ours as retired ones.

    They can be rolled back to, and tell which containers without our mark are
    ours. Which of them serves is decided by what runs (C{deploy.adoption}).
    """
    _complete_layers(cursor)
    cursor.execute(
        "SELECT d.id, d.app_name, d.raw_deploy_config, d.deployed_image "
        "FROM deployments d WHERE NOT EXISTS (SELECT 1 FROM deployment o "
        "WHERE o.app = d.app_name AND o.id = d.id) ORDER BY d.rowid"
    )
    added: list[tuple[str, str]] = []
    unreadable: list[str] = []
    for identifier, app, raw, image in cursor.fetchall():
        stored, deployed = _object(raw), _object(image)
        if stored is None or deployed is None:
            unreadable.append(identifier)
            continue
        made = deployment_time(identifier) or now
        cursor.execute(
            "INSERT INTO deployment (app, id, state, target, stored, fingerprint, "
            "image_ref, created_at, finished_at) "
            "VALUES (?, ?, 'retired', '{}', ?, '', ?, ?, ?)",
            (
                app,
                identifier,
                json.dumps(stored),
                _ref(deployed),
                made.isoformat(),
                made.isoformat(),
            ),
        )
        added.append((app, identifier))
    return TakenOver(tuple(added), tuple(unreadable))


def _complete_layers(cursor: sqlite3.Cursor) -> None:
    """Add the column that the first Go daemons did not have."""
    cursor.execute("PRAGMA table_info(layers)")
    if "diff_id" not in {row[1] for row in cursor.fetchall()}:
        cursor.execute("ALTER TABLE layers ADD COLUMN diff_id TEXT NOT NULL DEFAULT ''")


def _object(column: object) -> dict[str, Any] | None:
    """Return the JSON object in a column (the Go daemon writes bytes)."""
    if not isinstance(column, str | bytes):
        return None
    try:
        found = json.loads(column)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _ref(image: dict[str, Any]) -> str:
    repository, tag = image.get("repository"), image.get("tag")
    if not isinstance(repository, str) or not repository:
        return ""
    known_tag = tag if isinstance(tag, str) and tag else None
    return image_ref(ImageConfig(repository=repository, tag=known_tag))
