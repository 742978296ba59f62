"""Durations and sizes as people write them: C{15s}, C{1m30s}, C{512MB}."""

from __future__ import annotations

import re

from haloy.errors import InvalidValue

_PART = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h|d)")
_SECONDS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}

_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([kKmMgGtT]?)(i?)[bB]?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_duration(
    text: str, field: str, least_s: float = 0.0, most_s: float = 86400.0 * 366
) -> float:
    """Return the seconds in C{text}: numbers with units, as in C{1h30m}, C{250ms}.

    @raise InvalidValue: no duration, or not in C{least_s} … C{most_s}.
    """
    seconds, end = 0.0, 0
    for match in _PART.finditer(text):
        if match.start() != end:
            break
        seconds += float(match[1]) * _SECONDS[match[2]]
        end = match.end()
    if not text or end != len(text):
        raise InvalidValue(
            f"{text!r} is not a duration; write it as 500ms, 15s, 1m30s or 90d",
            field=field,
        )
    if not least_s <= seconds <= most_s:
        raise InvalidValue(
            f"{text!r} is out of range: {show_duration(least_s)} "
            f"to {show_duration(most_s)}",
            field=field,
        )
    return seconds


def parse_size(
    text: str, field: str, least_bytes: int = 0, most_bytes: int = 1 << 50
) -> int:
    """Return the bytes in C{text}.

    C{k}, C{M}, C{G} and C{T} (C{MB} and C{MiB} too) count in 1024, as Docker does.

    @raise InvalidValue: no size, or not in C{least_bytes} … C{most_bytes}.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidValue(
            f"{text!r} is not a size; write it as 512MB or 2GiB", field=field
        )
    size = round(float(match[1]) * (1 << 10 * _POWERS[match[2].lower()]))
    if not least_bytes <= size <= most_bytes:
        raise InvalidValue(
            f"{text!r} is out of range: {show_size(least_bytes)} "
            f"to {show_size(most_bytes)}",
            field=field,
        )
    return size


def show_duration(seconds: float) -> str:
    """Return C{seconds} as a person reads it: C{90} is C{1m30s}."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    text, rest = "", seconds
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _SECONDS[unit])
        if count:
            text += f"{count:g}{unit}"
    return f"{text}{rest:g}s" if rest or not text else text


def show_size(size_bytes: float) -> str:
    """Return a size as a person reads it, base 1024: C{1536} is C{1.5 KiB}."""
    units = ["B", "KiB", "MiB", "GiB", "TiB"]
    while size_bytes >= 1024 and len(units) > 1:
        size_bytes /= 1024
        units.pop(0)
    digits = 0 if units[0] == "B" or size_bytes == int(size_bytes) else 1
    return f"{size_bytes:.{digits}f} {units[0]}"
