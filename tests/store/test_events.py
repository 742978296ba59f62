"""What C{store.events} keeps, and what deployments write there by themselves."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from haloy.model.event import Event
from haloy.model.names import AppName, DeploymentId
from haloy.store import deployments
from haloy.store.events import add_event, events_after, kept_events
from haloy.store.logs import LogRow
from tests.fakes.database import MemoryDatabase

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.fixture
def cursor() -> Iterator[sqlite3.Cursor]:
    database = MemoryDatabase()
    yield database.transaction()
    database.close()


def test_round_trip(cursor: sqlite3.Cursor) -> None:
    """Numbered in order; only what came behind a number is given."""
    assert kept_events(cursor) == (0, 0)
    for name in ("one", "two"):
        add_event(cursor, Event("health", "shop", name, "healthy", "200", NOW))
    assert kept_events(cursor) == (1, 2)
    assert events_after(cursor, 1) == [
        Event("health", "shop", "two", "healthy", "200", NOW, 2)
    ]


def test_only_the_newest_are_kept(cursor: sqlite3.Cursor) -> None:
    """Ten thousand, whoever writes them."""
    add_event(cursor, Event("health", "shop", "one", "healthy", "", NOW))
    cursor.execute("UPDATE sqlite_sequence SET seq = 10001 WHERE name = 'event'")
    add_event(cursor, Event("health", "shop", "two", "healthy", "", NOW))
    assert kept_events(cursor) == (10002, 10002)


def test_deployments_tell_of_themselves(cursor: sqlite3.Cursor) -> None:
    """Every change of a state is an event, in the same transaction, with its reason."""
    line = LogRow("shop", "01one", "ERROR", "it failed", NOW, complete=True)
    new = deployments.NewDeployment(
        AppName("shop"), DeploymentId("01one"), {}, {}, "f", "ci", None, NOW
    )
    deployments.add_deployment(cursor, new, line)
    deployments.set_state(cursor, "shop", "01one", "pulling")
    deployments.set_state(cursor, "shop", "01one", "pulling")
    row = deployments.find_deployment(cursor, "shop", "01one")
    assert row is not None
    deployments.end_dead(cursor, "failed", "exited", "it exited", line)
    found = events_after(cursor, 0)
    assert [(one.kind, one.app, one.subject) for one in found] == [
        ("deployment", "shop", "01one")
    ] * 3
    assert [(one.state, one.reason) for one in found] == [
        ("queued", ""),
        ("pulling", ""),
        ("failed", "it exited"),
    ]
    assert abs(found[0].at - datetime.now(UTC)) < timedelta(minutes=5)
