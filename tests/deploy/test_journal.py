"""Logs of deployments: written, followed, never without an end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from haloy.deploy.interface import LogEntry
from haloy.deploy.journal import (
    FIELD_LIMIT_BYTES,
    MESSAGE_LIMIT_BYTES,
    UNREADABLE_LIMIT_S,
    UNREADABLE_RETRY_S,
    Journal,
)
from haloy.errors import InsufficientStorage, StoreError
from haloy.store.logs import add_log
from tests.deploy.world import FaultyDatabase, until

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest_twisted.async_yield_fixture
async def database(tmp_path: Path, reactor: Any) -> AsyncIterator[FaultyDatabase]:
    opened = FaultyDatabase(tmp_path / "db" / "haloy.db", reactor, lambda: NOW)
    await opened.open()
    yield opened
    await opened.close()


async def end(journal: Journal, database: FaultyDatabase) -> None:
    await database.run(
        add_log, evolve(journal.line("shop", "one", "INFO", "end"), complete=True)
    )
    journal.wake()


async def test_two_readers(database: FaultyDatabase, reactor: Any) -> None:
    """Each of several readers gets every line; one slow reader holds up none (A4)."""
    journal = Journal(database, lambda: NOW, Clock())
    gate: Deferred[None] = Deferred()
    quick: list[str] = []
    slow: list[str] = []

    async def take(entry: LogEntry) -> None:
        quick.append(entry.message)

    async def wait(entry: LogEntry) -> None:
        slow.append(entry.message)
        await gate

    journal.say("shop", "one", "first")
    first = Deferred.fromCoroutine(journal.follow("shop", "one", take))
    second = Deferred.fromCoroutine(journal.follow("shop", "one", wait))
    await until(reactor, lambda: bool(quick and slow))
    journal.say("shop", "one", "second")
    await until(reactor, lambda: len(quick) == 2)
    await end(journal, database)
    await first
    gate.callback(None)
    await second
    assert quick == slow == ["first", "second", "end"]


async def test_reader_that_comes_back(database: FaultyDatabase) -> None:
    """A reader that lost its connection goes on behind the last line it has (A4)."""
    journal = Journal(database, lambda: NOW, Clock())
    journal.say("shop", "one", "first")
    await end(journal, database)
    seen: list[LogEntry] = []

    async def take(entry: LogEntry) -> None:
        seen.append(entry)

    await journal.follow("shop", "one", take)
    await journal.follow("shop", "one", take, seen[0].seq)
    assert [one.message for one in seen] == ["first", "end", "end"]


async def test_reader_that_leaves(database: FaultyDatabase, reactor: Any) -> None:
    """Nothing is kept for a reader that went away (A5)."""
    journal = Journal(database, lambda: NOW, Clock())
    seen: list[str] = []

    async def take(entry: LogEntry) -> None:
        seen.append(entry.message)

    journal.say("shop", "one", "first")
    following = Deferred.fromCoroutine(journal.follow("shop", "one", take))
    await until(reactor, lambda: bool(seen))
    await until(reactor, lambda: journal.waiting == 1)
    following.addErrback(lambda failure: failure.trap(CancelledError) and None)
    following.cancel()
    await following
    assert journal.waiting == 0


async def test_long_texts(database: FaultyDatabase) -> None:
    """A field keeps its newest part, a message its beginning; empty fields go."""
    journal = Journal(database, lambda: NOW, Clock())
    line = journal.line(
        "shop", "one", "INFO", "m" * 100_000, {"logs": "a" * 100_000 + "end", "no": ""}
    )
    assert len(line.message) == MESSAGE_LIMIT_BYTES
    assert len(line.fields["logs"]) == FIELD_LIMIT_BYTES
    assert line.fields["logs"].endswith("end")
    assert "no" not in line.fields


async def test_full_disk(database: FaultyDatabase, reactor: Any) -> None:
    """A line that cannot be written is lost; the end is told all the same."""
    journal = Journal(database, lambda: NOW, Clock())
    database.failing["add_log"] = InsufficientStorage("insufficient disk space")
    seen: list[LogEntry] = []

    async def take(entry: LogEntry) -> None:
        seen.append(entry)

    following = Deferred.fromCoroutine(journal.follow("shop", "one", take))
    journal.say("shop", "one", "lost")
    last = evolve(journal.line("shop", "one", "ERROR", "end"), complete=True)
    journal.unwritten(last)
    await following
    assert [one.message for one in seen] == ["end"]
    journal.written("shop", "one")
    await journal.stop()


async def test_waiting_for_any_line(database: FaultyDatabase) -> None:
    """Waiting ends with the next line, or at its limit."""
    clock = Clock()
    journal = Journal(database, lambda: NOW, clock)
    late = Deferred.fromCoroutine(journal.came(journal.next_line(), 5))
    clock.advance(5)
    assert await late is False
    soon = Deferred.fromCoroutine(journal.came(journal.next_line(), 5))
    journal.wake()
    assert await soon is True
    assert clock.getDelayedCalls() == []


async def test_log_that_cannot_be_read(database: FaultyDatabase, reactor: Any) -> None:
    """It is read again until it can be; its end is told, when only that is known."""
    clock = Clock()
    journal = Journal(database, lambda: NOW, clock)
    broken = StoreError("disk I/O error")
    seen: list[str] = []

    async def take(entry: LogEntry) -> None:
        seen.append(entry.message)

    database.failing["read_log"] = broken
    await end(journal, database)
    later = Deferred.fromCoroutine(journal.follow("shop", "one", take))
    untold = Deferred.fromCoroutine(journal.follow("shop", "two", take))
    await until(reactor, lambda: journal.waiting == 2)
    last = evolve(journal.line("shop", "two", "ERROR", "failed"), complete=True)
    journal.unwritten(last)
    await untold
    assert seen == ["failed"]
    database.failing.clear()
    clock.advance(UNREADABLE_RETRY_S)
    await later
    assert seen == ["failed", "end"]
    assert clock.getDelayedCalls() == []


async def test_log_that_stays_unreadable(
    database: FaultyDatabase, reactor: Any
) -> None:
    """After two minutes who follows is told why there is nothing to see."""
    clock = Clock()
    journal = Journal(database, lambda: NOW, clock)
    database.failing["read_log"] = StoreError("disk I/O error")

    async def take(entry: LogEntry) -> None:
        raise AssertionError(entry)

    following = Deferred.fromCoroutine(journal.follow("shop", "one", take))
    problems: list[Any] = []
    following.addErrback(problems.append)

    def over() -> bool:
        clock.advance(UNREADABLE_RETRY_S)
        return bool(problems)

    await until(reactor, over)
    assert problems[0].check(StoreError)
    assert clock.seconds() > UNREADABLE_LIMIT_S
