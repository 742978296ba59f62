"""One file, one thread, migrations, and what is done with a damaged file."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from haloy.errors import InsufficientStorage, StoreError
from haloy.store.database import Database, migrations
from haloy.store.deployments import apps
from tests.store.conftest import NOW


def read(cursor: sqlite3.Cursor, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()[0]


async def test_files_are_private(store: Database, tmp_path: Path) -> None:
    """The database and what SQLite puts beside it are for their owner only (D19)."""
    await store.run(apps)
    files = list((tmp_path / "db").iterdir())
    assert (tmp_path / "db").stat().st_mode & 0o777 == 0o700
    assert {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}


async def test_settings_of_the_connection(store: Database) -> None:
    """What SQLite forgets with each connection is set on ours (D19)."""
    assert await store.run(read, "PRAGMA journal_mode") == "wal"
    assert await store.run(read, "PRAGMA foreign_keys") == 1
    assert await store.run(read, "PRAGMA busy_timeout") == 5000


async def test_every_migration_once(
    store: Database, tmp_path: Path, reactor: Any
) -> None:
    """The version is that of the newest script, also after opening again."""
    newest = max(version for version, _ in migrations())
    again = Database(tmp_path / "db" / "haloy.db", reactor, lambda: NOW)
    await again.open()
    try:
        assert (
            await again.run(read, "SELECT max(version) FROM schema_version") == newest
        )
        count = await again.run(read, "SELECT count(*) FROM schema_version")
    finally:
        await again.close()
    assert count == len(migrations())


async def test_a_failed_transaction_changes_nothing(store: Database) -> None:
    """All of it happened or nothing."""

    def broken(cursor: sqlite3.Cursor) -> None:
        cursor.execute("INSERT INTO app (name, active) VALUES ('shop', 'one')")
        cursor.execute("INSERT INTO nowhere VALUES (1)")

    with pytest.raises(StoreError):
        await store.run(broken)
    assert await store.run(apps) == []


async def test_full_disk(store: Database) -> None:
    """A full disk has an error of its own, and the next write works."""

    def full(cursor: sqlite3.Cursor) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with pytest.raises(InsufficientStorage, match="insufficient disk space"):
        await store.run(full)
    assert await store.run(apps) == []


@pytest.mark.parametrize("kept", [0, 100, 5000])
async def test_damaged_file(tmp_path: Path, reactor: Any, kept: int) -> None:
    """A damaged file is moved aside whole, and a new one is made."""
    path = tmp_path / "db" / "haloy.db"
    first = Database(path, reactor, lambda: NOW)
    await first.open()
    await first.close()
    content = path.read_bytes()[:kept] + b"not a database at all" * 1000
    path.write_bytes(content)
    opened = Database(path, reactor, lambda: NOW)
    await opened.open()
    try:
        assert await opened.run(apps) == []
    finally:
        await opened.close()
    aside = path.with_name("haloy.db.corrupt-20261124T120000Z")
    assert aside.read_bytes() == content
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


async def test_closed(store: Database) -> None:
    """A closed database says so."""
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.run(apps)
