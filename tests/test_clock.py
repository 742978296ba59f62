"""Timers do not follow the wall clock."""

from __future__ import annotations

import time
from typing import Any

import pytest
from twisted.internet.selectreactor import SelectReactor

from haloy.clock import Seldom, make_monotonic


def test_timers_follow_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else hurries them or holds them up."""
    now_s = [5.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    reactor: Any = SelectReactor()
    make_monotonic(reactor)
    called: list[float] = []
    reactor.callLater(10, lambda: called.append(now_s[0]))
    for now_s[0] in (14.9, 15.1, 30.0):
        reactor.runUntilCurrent()
    assert called == [15.1]


def test_what_lasts_is_told_now_and_then() -> None:
    """At once, and again when its time has passed since it was told."""
    telling = Seldom(60.0)
    said = [now_s for now_s in range(0, 200, 25) if telling.is_time(float(now_s))]
    assert said == [0, 75, 150]
