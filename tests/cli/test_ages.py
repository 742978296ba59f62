"""Times as people read and write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from haloy.cli.ages import age, ago, parse_since, parse_time, span, until
from haloy.errors import InvalidValue

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "0 seconds"),
        (1, "1 second"),
        (119, "1 minute"),
        (7300, "2 hours"),
        (86400, "1 day"),
        (31 * 86400, "1 month"),
        (800 * 86400, "2 years"),
    ],
)
def test_a_span_is_told_in_its_largest_unit(seconds: float, shown: str) -> None:
    """A month has 30 days, a year 365 (spec/cli.md 1.4)."""
    assert span(seconds) == shown


def test_before_and_after_now() -> None:
    """Ago, from now, and now itself."""
    assert ago(NOW - timedelta(hours=3), NOW) == "3 hours ago"
    assert ago(NOW + timedelta(days=2), NOW) == "2 days from now"
    assert ago(NOW, NOW) == "now"


def test_ages_and_ends_of_what_the_server_says() -> None:
    """What is no time has no age."""
    assert age("2026-11-24T11:00:00Z", NOW) == "1 hour"
    assert age("2026-11-24T13:00:00Z", NOW) == "0 seconds", "clocks differ"
    assert age(None, NOW) == "-"
    assert until("2026-12-24T12:00:00Z", NOW) == "1 month left"
    assert until("2026-11-23T12:00:00Z", NOW) == "1 day past"
    assert until("soon", NOW) == "unknown"
    assert parse_time("2026-11-24T12:00:00") == NOW


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("15m", NOW - timedelta(minutes=15)),
        ("2h30m", NOW - timedelta(hours=2, minutes=30)),
        ("1d", NOW - timedelta(days=1)),
        ("10s", NOW - timedelta(seconds=10)),
        ("2026-11-01T00:00:00Z", datetime(2026, 11, 1, tzinfo=UTC)),
    ],
)
def test_since(text: str, wanted: datetime) -> None:
    """A span back from now, or a time."""
    assert parse_since(text, NOW) == wanted


@pytest.mark.parametrize("text", ["yesterday", "5", "m5", "9" * 30 + "d", ""])
def test_since_something_else(text: str) -> None:
    """The text is named, and what would be right."""
    with pytest.raises(InvalidValue, match="--since"):
        parse_since(text, NOW)
