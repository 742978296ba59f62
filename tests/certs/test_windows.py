"""When C{certs.windows} asks, and what it chooses."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

import pytest
from attrs import define, evolve

from haloy.certs.acme import AcmeError, Suggestion
from haloy.certs.memory import Window
from haloy.certs.windows import ASK_AGAIN, Windows
from tests.certs.test_acme_http import result
from tests.fakes.acme import DIRECTORY, FakeAuthority
from tests.support.certificates import DAY, NOW, make

ONE = make("shop.example.com", directory=DIRECTORY)
FOUND = Suggestion(NOW + DAY, NOW + 2 * DAY, NOW + timedelta(hours=6))


@define
class Time:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def now() -> Time:
    return Time()


def test_instant_is_chosen_inside_and_stays(now: Time) -> None:
    """RFC 9773 section 4.2: at random, once for each window."""
    authority, windows = FakeAuthority(now), Windows(now, random.Random(1))
    authority.suggestions = [FOUND, evolve(FOUND, ask_again=NOW + DAY)]
    first = result(windows.ask(authority, ONE, None))
    assert first is not None
    assert FOUND.start <= first.chosen <= FOUND.end
    again = result(windows.ask(authority, ONE, first))
    assert again == evolve(first, ask_again=NOW + DAY)


def test_moved_window_is_chosen_from_anew(now: Time) -> None:
    """A CA that has to revoke moves it into the past."""
    authority, windows = FakeAuthority(now), Windows(now, random.Random(1))
    early = Suggestion(NOW - 2 * DAY, NOW - DAY, NOW + DAY)
    authority.suggestions = [FOUND, early]
    first = result(windows.ask(authority, ONE, None))
    again = result(windows.ask(authority, ONE, first))
    assert again is not None
    assert again.chosen < NOW


def test_it_is_asked_when_the_ca_said_so(now: Time) -> None:
    """And at once for another certificate."""
    windows = Windows(now, random.Random(1))
    authority = FakeAuthority(now)
    authority.suggestions = [FOUND]
    known: Window | None = None
    assert windows.due(ONE, known)
    known = result(windows.ask(authority, ONE, known))
    assert not windows.due(ONE, known)
    assert windows.due(make("shop.example.com", directory=DIRECTORY), known)
    now.now = FOUND.ask_again
    assert windows.due(ONE, known)


@pytest.mark.parametrize("answer", [None, AcmeError("oops")])
def test_no_window_is_asked_for_again_later(
    now: Time, answer: AcmeError | None
) -> None:
    """Not every minute."""
    windows, authority = Windows(now, random.Random(1)), FakeAuthority(now)
    authority.suggestions = [answer]
    assert result(windows.ask(authority, ONE, None)) is None
    assert not windows.due(ONE, None)
    now.now = NOW + ASK_AGAIN
    assert windows.due(ONE, None)
