"""The stream of what happens: from now on, taken up again, and with a gap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import cast

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.api.events import LOOK_S, EventFeed
from haloy.model.event import Event
from haloy.store.database import Database
from haloy.store.events import add_event
from tests.fakes.database import MemoryDatabase

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@define(eq=False)
class Followed:
    """A feed, and what readers of it have got."""

    clock: Clock = field(factory=Clock)
    database: MemoryDatabase = field(factory=MemoryDatabase)
    readers: list[Deferred[None]] = field(factory=list)
    feed: EventFeed = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.feed = EventFeed(cast(Database, self.database), self.clock, lambda: NOW)

    def tell(self, subject: str) -> None:
        Deferred.fromCoroutine(self.feed.tell("health", "shop", subject, "healthy"))

    def read(self, after: int | None) -> list[Event]:
        seen: list[Event] = []

        async def consume(one: Event) -> None:
            seen.append(one)

        reading = Deferred.fromCoroutine(self.feed.follow(after, consume))
        reading.addErrback(lambda _: None)
        self.readers.append(reading)
        return seen


@pytest.fixture
def followed() -> Iterator[Followed]:
    found = Followed()
    yield found
    for one in found.readers:
        one.cancel()
    found.database.close()
    assert not found.clock.getDelayedCalls()


def subjects(seen: list[Event]) -> list[str]:
    return [one.subject for one in seen]


def test_what_happens_from_now_on(followed: Followed) -> None:
    """Without a number: nothing of the past; each reader gets everything, at once."""
    followed.tell("past")
    one, other = followed.read(None), followed.read(None)
    followed.tell("now")
    assert subjects(one) == subjects(other) == ["now"]
    assert one[0].seq == 2


def test_what_others_write_is_found(followed: Followed) -> None:
    """A deployment writes its events by triggers: they are looked for."""
    seen = followed.read(None)
    add_event(
        followed.database.transaction(), Event("deployment", "shop", "1", "x", "", NOW)
    )
    assert seen == []
    followed.clock.advance(LOOK_S)
    assert subjects(seen) == ["1"]


def test_taken_up_again(followed: Followed) -> None:
    """With a number: what came behind it, then what comes."""
    for name in ("a", "b", "c"):
        followed.tell(name)
    seen = followed.read(1)
    followed.tell("d")
    assert subjects(seen) == ["b", "c", "d"]


@pytest.mark.parametrize("after", [0, 99])
def test_gap_is_told(followed: Followed, after: int) -> None:
    """A number that is gone, or of another database: said, then what there is."""
    for name in ("a", "b", "c"):
        followed.tell(name)
    followed.database.connection.execute("DELETE FROM event WHERE seq = 1")
    seen = followed.read(after)
    assert [one.kind for one in seen] == ["gap", "health", "health"]
    assert subjects(seen[1:]) == ["b", "c"]


def test_reader_that_leaves_is_forgotten(followed: Followed) -> None:
    """Nothing waits for it any more."""
    followed.read(None)
    followed.readers[0].cancel()
    assert not followed.clock.getDelayedCalls()
    followed.tell("later")
