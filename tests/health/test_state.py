"""When C{health.state} changes a verdict."""

from __future__ import annotations

from datetime import UTC, datetime

from haloy.health.state import Health, Thresholds
from haloy.model.app import Assessment, Verdict

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LATER = datetime(2026, 11, 25, tzinfo=UTC)
LIMITS = Thresholds(fall=3, rise=2)


def health(verdict: Verdict) -> Health:
    return Health(Assessment(verdict, "before", NOW))


def after(start: Health, *results: bool) -> Health:
    for passed in results:
        start = start.after(passed, "seen", LIMITS, LATER)
    return start


def test_falls_after_three_failures_in_a_row() -> None:
    """A single slow answer does not take a replica out."""
    two = after(health(Verdict.HEALTHY), False, False)
    assert two.assessment == Assessment(Verdict.HEALTHY, "before", NOW)
    three = after(two, False)
    assert three.assessment == Assessment(Verdict.UNHEALTHY, "seen", LATER)


def test_success_in_between_starts_anew() -> None:
    """Failures count in a row only."""
    mixed = after(health(Verdict.HEALTHY), False, False, True, False, False)
    assert mixed.assessment.verdict is Verdict.HEALTHY


def test_rises_after_two_successes() -> None:
    """No flapping on the way back."""
    sick = health(Verdict.UNHEALTHY)
    assert after(sick, True).assessment.verdict is Verdict.UNHEALTHY
    assert after(sick, True, True).assessment.verdict is Verdict.HEALTHY


def test_first_success_is_enough_for_a_new_replica() -> None:
    """Who was never probed owes no run of successes, but a run of failures falls."""
    new = health(Verdict.UNKNOWN)
    assert after(new, True).assessment.verdict is Verdict.HEALTHY
    assert after(new, False, False).assessment.verdict is Verdict.UNKNOWN
    assert after(new, False, False, False).assessment.verdict is Verdict.UNHEALTHY


def test_reason_follows_what_is_seen() -> None:
    """Status shows the newest reason, and since when the verdict holds."""
    same = after(health(Verdict.HEALTHY), True)
    assert same.assessment == Assessment(Verdict.HEALTHY, "seen", NOW)


def test_nothing_new() -> None:
    """What is seen again and again is the same value, and costs none."""
    same = after(health(Verdict.HEALTHY), True)
    assert after(same, True) is same
