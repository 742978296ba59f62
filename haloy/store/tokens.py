"""Tokens and the audit trail, as rows."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime

from haloy.model.token import AuditEntry, Token

AUDIT_KEPT = 100_000


def tokens(cursor: sqlite3.Cursor) -> list[Token]:
    """Return all tokens, revoked ones too, by name."""
    cursor.execute(
        "SELECT name, hash, scopes, apps, created_at, expires_at, last_used_at, "
        "revoked_at FROM token ORDER BY name"
    )
    return [
        Token(
            name=name,
            hash=bytes(kept),
            scopes=tuple(json.loads(scopes)),
            apps=tuple(json.loads(apps)),
            created_at=datetime.fromisoformat(created),
            expires_at=_time(expires),
            last_used_at=_time(used),
            revoked_at=_time(revoked),
        )
        for (
            name,
            kept,
            scopes,
            apps,
            created,
            expires,
            used,
            revoked,
        ) in cursor.fetchall()
    ]


def add_token(cursor: sqlite3.Cursor, token: Token) -> bool:
    """Keep a token; return C{False} when its name is taken."""
    cursor.execute("SELECT 1 FROM token WHERE name = ?", (token.name,))
    if cursor.fetchone() is not None:
        return False
    cursor.execute(
        "INSERT INTO token (name, hash, scopes, apps, created_at, expires_at) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (
            token.name,
            token.hash,
            json.dumps(token.scopes),
            json.dumps(token.apps),
            token.created_at.isoformat(),
            token.expires_at and token.expires_at.isoformat(),
        ),
    )
    return True


def revoke_token(cursor: sqlite3.Cursor, name: str, now: datetime) -> bool:
    """Revoke a token; return C{False} when there is none of that name."""
    cursor.execute(
        "UPDATE token SET revoked_at = coalesce(revoked_at, ?) WHERE name = ?",
        (now.isoformat(), name),
    )
    return cursor.rowcount > 0


def touch_token(cursor: sqlite3.Cursor, name: str, now: datetime) -> None:
    """Note that a token was used."""
    cursor.execute(
        "UPDATE token SET last_used_at = ? WHERE name = ?", (now.isoformat(), name)
    )


def add_audit(
    cursor: sqlite3.Cursor,
    at: datetime,
    token: str,
    address: str,
    action: str,
    subject: str,
    result: str,
) -> None:
    """Append an action; beyond the limit the oldest go."""
    cursor.execute(
        "INSERT INTO audit (at, token, address, action, subject, result) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        (at.isoformat(), token, address, action, subject, result),
    )
    cursor.execute("DELETE FROM audit WHERE seq <= ?", (_last(cursor) - AUDIT_KEPT,))


def audit(cursor: sqlite3.Cursor, limit: int) -> list[AuditEntry]:
    """Return the newest actions, newest first."""
    cursor.execute(
        "SELECT seq, at, token, address, action, subject, result FROM audit "
        "ORDER BY seq DESC LIMIT ?",
        (limit,),
    )
    return [
        AuditEntry(row[0], datetime.fromisoformat(row[1]), *row[2:])
        for row in cursor.fetchall()
    ]


def _last(cursor: sqlite3.Cursor) -> int:
    return int(cursor.lastrowid or 0)


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
