"""The database: one SQLite file, one connection, one thread, numbered migrations.

The file is the Go daemon's too (C{<data>/db/haloy.db}): its tables keep their
columns, ours stand beside them. A file that is damaged is moved aside and a new
one made; what runs is then found again by its labels.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from attrs import define, field
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from haloy.config.private import make_directory, set_aside
from haloy.errors import InsufficientStorage, StoreError
from haloy.store import ballast

BUSY_LIMIT_MS = 5000

T = TypeVar("T")
P = ParamSpec("P")
Work = Callable[Concatenate[sqlite3.Cursor, P], T]


@define(eq=False)
class Database:
    """Runs transactions; every one either happened or did not."""

    _path: Path
    _reactor: Any
    _now: Callable[[], datetime]
    _log: Logger = field(factory=Logger, init=False)
    _pool: ConnectionPool | None = field(default=None, init=False)

    async def open(self) -> None:
        """Open the file, moving a damaged one aside, and bring it up to date.

        @raise StoreError: the file cannot be used, and why.
        """
        threads = ThreadPool(1, 1, "database-check")
        threads.start()
        try:
            await deferToThreadPool(self._reactor, threads, self._prepare)
        finally:
            self._reactor.callInThread(threads.stop)
        self._pool = ConnectionPool(
            "sqlite3",
            str(self._path),
            check_same_thread=False,
            cp_min=1,
            cp_max=1,
            cp_reactor=self._reactor,
            cp_openfun=_set_pragmas,
        )
        self._pool.start()

    async def close(self) -> None:
        """Finish what runs and close the file."""
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.close()

    async def run(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what C{work(cursor, …)} returns, in one transaction.

        @raise InsufficientStorage: the disk is full; nothing was changed.
        @raise StoreError: any other trouble with the file.
        """
        if self._pool is None:
            raise StoreError("the database is not open")
        try:
            result: T = await self._pool.runInteraction(work, *args, **kwargs)
        except sqlite3.OperationalError as problem:
            if _is_for_room(problem):
                raise InsufficientStorage(
                    "insufficient disk space for the database"
                ) from problem
            raise StoreError(f"database {self._path}: {problem}") from problem
        except sqlite3.DatabaseError as problem:
            raise StoreError(f"database {self._path}: {problem}") from problem
        return result

    # --- in the thread -------------------------------------------------------

    def _prepare(self) -> None:
        make_directory(self._path.parent)
        try:
            self._migrate_or_quarantine()
        except StoreError as problem:
            if not ballast.throw_off(self._path.parent):
                raise
            self._log.warn(
                "{problem}; trying again with the room that was kept for this",
                problem=str(problem),
            )
            self._migrate_or_quarantine()
        else:
            ballast.take_aboard(self._path.parent)

    def _migrate_or_quarantine(self) -> None:
        try:
            self._create_private()
            try:
                self._migrate()
            except sqlite3.DatabaseError as problem:
                if not _is_damage(problem):
                    raise
                self._quarantine(problem)
                self._create_private()
                self._migrate()
        except (OSError, sqlite3.DatabaseError) as problem:
            raise StoreError(f"database {self._path}: {problem}") from problem

    def _create_private(self) -> None:
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        self._path.chmod(0o600)

    def _migrate(self) -> None:
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            _set_pragmas(connection)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found}")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)"
            )
            row = connection.execute(
                "SELECT max(version) FROM schema_version"
            ).fetchone()
            for version, script in migrations():
                if version > (row[0] or 0):
                    connection.executescript(f"BEGIN; {script}")
                    connection.execute(
                        "INSERT INTO schema_version VALUES (?)", (version,)
                    )
                    connection.execute("COMMIT")
        finally:
            connection.close()

    def _quarantine(self, problem: Exception) -> None:
        aside = set_aside(self._path, self._now())
        for suffix in ("-wal", "-shm"):
            rest = self._path.with_name(self._path.name + suffix)
            if rest.exists():
                rest.rename(aside.with_name(aside.name + suffix))
        self._log.error(
            "database {path} is damaged ({problem}): moved to {aside}; "
            "what runs goes on and is found by its labels",
            path=str(self._path),
            problem=str(problem),
            aside=str(aside),
        )


def migrations() -> list[tuple[int, str]]:
    """Return the numbered scripts in order."""
    folder = files("haloy.store") / "migrations"
    found = [
        (int(one.name.partition("_")[0]), one.read_text(encoding="utf-8"))
        for one in folder.iterdir()
        if one.name.endswith(".sql")
    ]
    return sorted(found)


def _set_pragmas(connection: sqlite3.Connection) -> None:
    """Set what SQLite forgets with each connection (D19)."""
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute(f"PRAGMA busy_timeout = {BUSY_LIMIT_MS}")


def _is_for_room(problem: sqlite3.OperationalError) -> bool:
    """Tell whether it is for want of room: of the file, or of its index of the log."""
    named = getattr(problem, "sqlite_errorname", "")
    return named in ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")


def _is_damage(problem: sqlite3.DatabaseError) -> bool:
    text = str(problem).lower()
    return "malformed" in text or "not a database" in text or "corrupt" in text
