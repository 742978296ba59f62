"""Uploaded layers, as rows of the table that a Go daemon shares.

Whether a layer is here is judged by its file, never by its row (A17).
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime


def put_layer(cursor: sqlite3.Cursor, digest: str, size: int, now: datetime) -> None:
    """Remember an uploaded layer."""
    cursor.execute(
        "INSERT INTO layers (digest, size, created_at, last_used_at) "
        "VALUES (?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET "
        "size = excluded.size, last_used_at = excluded.last_used_at",
        (digest, size, now.isoformat(), now.isoformat()),
    )


def touch_layers(cursor: sqlite3.Cursor, digests: list[str], now: datetime) -> None:
    """Note that layers were used."""
    cursor.executemany(
        "UPDATE layers SET last_used_at = ? WHERE digest = ?",
        [(now.isoformat(), digest) for digest in digests],
    )


def set_diff_ids(cursor: sqlite3.Cursor, diff_ids: dict[str, str]) -> None:
    """Remember the uncompressed digest of layers, by which images name them."""
    cursor.executemany(
        "UPDATE layers SET diff_id = ? WHERE digest = ?",
        [(diff_id, digest) for digest, diff_id in diff_ids.items()],
    )


def unused_layers(cursor: sqlite3.Cursor, before: datetime) -> list[str]:
    """Return the layers that nobody has asked for since C{before}."""
    cursor.execute("SELECT digest, last_used_at FROM layers")
    return [
        digest
        for digest, used in cursor.fetchall()
        if used is None or _time(used) < before
    ]


def forget_layers(cursor: sqlite3.Cursor, digests: list[str]) -> None:
    """Drop the rows of layers that are gone."""
    cursor.executemany(
        "DELETE FROM layers WHERE digest = ?", [(digest,) for digest in digests]
    )


def _time(text: str) -> datetime:
    """Return a time; one of the Go daemon may be unreadable to us, and is old then."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
