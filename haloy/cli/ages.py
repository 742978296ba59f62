"""Times as people read them: how long ago, how long still. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from haloy.errors import InvalidValue

_UNITS = (
    ("year", 365 * 86400),
    ("month", 30 * 86400),
    ("day", 86400),
    ("hour", 3600),
    ("minute", 60),
    ("second", 1),
)
_SHORT = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PART = re.compile(r"(\d+)([dhms])")


def parse_time(text: object) -> datetime | None:
    """Return an aware time as the API writes it, C{None} when it is none."""
    try:
        at = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def span(seconds: float) -> str:
    """Return a length of time in its largest unit, as in C{3 hours}."""
    for name, size in _UNITS:
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "0 seconds"


def ago(at: datetime, now: datetime) -> str:
    """Return how long ago C{at} was, or how long it is from now."""
    seconds = (now - at).total_seconds()
    if seconds < 0:
        return f"{span(-seconds)} from now"
    return f"{span(seconds)} ago" if seconds >= 1 else "now"


def age(text: object, now: datetime) -> str:
    """Return the age of something that began at C{text}, C{-}: not known."""
    at = parse_time(text)
    return "-" if at is None else span(max((now - at).total_seconds(), 0))


def until(text: object, now: datetime) -> str:
    """Return how long there is to C{text}, or how long it is past."""
    at = parse_time(text)
    if at is None:
        return "unknown"
    seconds = (at - now).total_seconds()
    return f"{span(seconds)} left" if seconds > 0 else f"{span(-seconds)} past"


def parse_since(text: str, now: datetime) -> datetime:
    """Return the time that C{--since} means: C{15m}, C{2h30m}, or an ISO time.

    @raise InvalidValue: it is neither.
    """
    parts = _PART.findall(text)
    if parts and "".join(f"{count}{unit}" for count, unit in parts) == text:
        seconds = sum(int(count) * _SHORT[unit] for count, unit in parts)
        try:
            return now - timedelta(seconds=seconds)
        except OverflowError:
            raise InvalidValue(f"{text!r} is too long ago", field="--since") from None
    at = parse_time(text)
    if at is None:
        raise InvalidValue(
            f"{text!r} is neither a span such as 15m, 2h30m or 1d nor a time such as "
            "2027-01-31T12:00:00Z",
            field="--since",
        )
    return at
