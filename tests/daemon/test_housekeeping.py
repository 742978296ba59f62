"""What C{daemon.housekeeping} does, and when."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred

from haloy.daemon.housekeeping import LAYER_LIFE, Housekeeping, clear_older
from haloy.errors import HaloyError
from tests.fakes.threads import InlineClock, InlinePool

START = datetime(2026, 11, 24, tzinfo=UTC)


@define(eq=False)
class Keys:
    renewed: int = 0

    def renew(self) -> None:
        self.renewed += 1


@define(eq=False)
class Shelf:
    cleared: list[datetime] = field(factory=list)
    problem: HaloyError | None = None

    async def clear(self, before: datetime) -> int:
        self.cleared.append(before)
        if self.problem is not None:
            raise self.problem
        return 1


class Hours(InlineClock):
    """A clock that tells the time."""

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds())


def file(folder: Path, name: str, age: timedelta) -> Path:
    path = folder / name
    path.write_text("x")
    stamp = (START - age).timestamp()
    os.utime(path, (stamp, stamp))
    return path


def test_only_old_files_go(tmp_path: Path) -> None:
    """E12: temporary archives of a crash; folders and links' targets stay."""
    old = file(tmp_path, "old.tar", timedelta(hours=2))
    new = file(tmp_path, "new.tar", timedelta(0))
    (tmp_path / "folder").mkdir()
    assert clear_older(tmp_path, START - timedelta(hours=1)) == 1
    assert (old.exists(), new.exists(), (tmp_path / "folder").exists()) == (
        False,
        True,
        True,
    )
    assert clear_older(tmp_path / "none", START) == 0


@pytest.fixture
def hours() -> Hours:
    return Hours()


def test_rounds(tmp_path: Path, hours: Hours) -> None:
    """All leftovers at start, stalled uploads by the hour, new keys by the day."""
    left = file(tmp_path, "left.tar", timedelta(seconds=1))
    keys = Keys()
    shelf = Shelf()
    keeping = Housekeeping(hours, InlinePool(), keys, tmp_path, hours.now, shelf)  # type: ignore[arg-type]  # inline
    Deferred.fromCoroutine(keeping.start())
    assert not left.exists()
    upload = file(tmp_path, "upload.tar", timedelta(0))
    for _ in range(5):
        hours.advance(3600)
    assert upload.exists()
    assert shelf.cleared[0] == START + timedelta(hours=1) - LAYER_LIFE
    shelf.problem = HaloyError("the disk is full")
    for _ in range(18):
        hours.advance(3600)
    assert not upload.exists()
    assert keys.renewed == 0
    hours.advance(3600)
    assert keys.renewed == 1
    Deferred.fromCoroutine(keeping.stop())
    assert hours.getDelayedCalls() == []
