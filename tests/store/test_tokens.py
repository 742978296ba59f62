"""What C{store.tokens} keeps."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from haloy.model.token import Token
from haloy.store import tokens
from tests.fakes.database import MemoryDatabase

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def cursor() -> Iterator[sqlite3.Cursor]:
    database = MemoryDatabase()
    yield database.transaction()
    database.close()


def row(name: str) -> Token:
    return Token(name, name.encode(), ("read",), ("shop",), NOW, NOW)


def test_token_round_trip(cursor: sqlite3.Cursor) -> None:
    """Names are taken for good, also by revoked tokens."""
    assert tokens.add_token(cursor, row("ci"))
    assert not tokens.add_token(cursor, row("ci"))
    assert tokens.tokens(cursor) == [row("ci")]
    tokens.touch_token(cursor, "ci", NOW)
    assert tokens.revoke_token(cursor, "ci", NOW)
    assert not tokens.revoke_token(cursor, "nobody", NOW)
    (found,) = tokens.tokens(cursor)
    assert (found.last_used_at, found.revoked_at) == (NOW, NOW)
    assert "hash" not in repr(found)


def test_trail_keeps_the_newest(
    cursor: sqlite3.Cursor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appended only; the oldest go beyond the limit."""
    monkeypatch.setattr(tokens, "AUDIT_KEPT", 3)
    for number in range(5):
        tokens.add_audit(cursor, NOW, "ci", "::1", "deploy", str(number), "ok")
    found = tokens.audit(cursor, 10)
    assert [one.subject for one in found] == ["4", "3", "2"]
    assert found[0].at == NOW
    assert len(tokens.audit(cursor, 1)) == 1
