"""Another clock for the processes that a test starts; theirs alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.support.tools import need

#: Forward past every pause and every renewal, back before everything, and right again.
JUMPS = (timedelta(days=2), timedelta(days=-400), timedelta())


def faked_clock(file: Path) -> dict[str, str]:
    """Return the environment of processes whose clock is what L{set_clock} says.

    The monotonic clock is as it was: no jump of the other one moves it.
    """
    need("faketime")
    found = [*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    assert found, "faketime is there and its library is not"
    return {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


def set_clock(file: Path, jump: timedelta) -> None:
    """Let every process that reads C{file} see a clock that is off by C{jump}."""
    beside = file.with_name("clock.new")
    beside.write_text(f"{jump.total_seconds():+.0f}")
    beside.replace(file)


def years_of(text: str) -> int:
    """Return how many years the lines of a log are from."""
    return len({line[:4] for line in text.splitlines() if line[:2] == "20"})
