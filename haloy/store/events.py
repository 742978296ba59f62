"""What has happened, as rows; deployments write theirs by triggers (migration 004)."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from haloy.model.event import Event

#: How many are given at once to whoever reads.
BATCH = 500


def add_event(cursor: sqlite3.Cursor, event: Event) -> None:
    """Append what happened; C{seq} is given here."""
    cursor.execute(
        "INSERT INTO event (at, kind, app, subject, state, reason) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            event.at.isoformat(),
            event.kind,
            event.app,
            event.subject,
            event.state,
            event.reason,
        ),
    )


def events_after(cursor: sqlite3.Cursor, after: int) -> list[Event]:
    """Return what came behind number C{after}, oldest first, at most L{BATCH}."""
    cursor.execute(
        "SELECT seq, at, kind, app, subject, state, reason FROM event "
        "WHERE seq > ? ORDER BY seq LIMIT ?",
        (after, BATCH),
    )
    return [
        Event(
            row[2],
            row[3],
            row[4],
            row[5],
            row[6],
            datetime.fromisoformat(row[1]),
            row[0],
        )
        for row in cursor.fetchall()
    ]


def kept_events(cursor: sqlite3.Cursor) -> tuple[int, int]:
    """Return the numbers of the oldest and the newest that are kept; zeros: none."""
    cursor.execute("SELECT coalesce(min(seq), 0), coalesce(max(seq), 0) FROM event")
    oldest, newest = cursor.fetchone()
    return int(oldest), int(newest)
