"""One file, one thread, migrations, and what is done with a damaged file."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from haloy.errors import InsufficientStorage, StoreError
from haloy.store import ballast
from haloy.store.apps import all_apps
from haloy.store.database import Database, migrations
from tests.store.conftest import NOW
from tests.support.disks import filled, small_disk


def read(cursor: sqlite3.Cursor, statement: str) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()[0]


def add(cursor: sqlite3.Cursor, name: str) -> None:
    cursor.execute("INSERT INTO app (name, active) VALUES (?, 'one')", (name,))


async def test_files_are_private(store: Database, tmp_path: Path) -> None:
    """The database and what SQLite puts beside it are for their owner only (D19)."""
    await store.run(all_apps)
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
    assert await store.run(all_apps) == []


@pytest.mark.docker  # no Docker, but the same right: to mount
async def test_full_disk(tmp_path: Path, reactor: Any) -> None:
    """It has an error of its own, changes nothing, and the next write works.

    Down to the last page, and also where the first read finds no room for the index.
    """
    with small_disk(tmp_path / "disk", "4m") as disk:
        first = Database(disk / "haloy.db", reactor, lambda: NOW)
        await first.open()
        await first.close()
        store = Database(disk / "haloy.db", reactor, lambda: NOW)
        await store.open()
        ballast.throw_off(disk)
        try:
            with filled(disk):
                for number in range(100):
                    try:
                        await store.run(add, f"app{number}")
                    except InsufficientStorage:
                        break
                else:
                    pytest.fail("nothing was refused")
            assert len(await store.run(all_apps)) == number
            await store.run(add, "shop")
            assert len(await store.run(all_apps)) == number + 1
        finally:
            await store.close()


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
        assert await opened.run(all_apps) == []
    finally:
        await opened.close()
    aside = path.with_name("haloy.db.corrupt-20261124T120000Z")
    assert aside.read_bytes() == content
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600


async def test_closed(store: Database) -> None:
    """A closed database says so."""
    await store.close()
    with pytest.raises(StoreError, match="not open"):
        await store.run(all_apps)
