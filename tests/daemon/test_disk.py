"""Disks that fill up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from haloy.config.operations import DiskSettings
from haloy.daemon.disk import LAYER_LIFE_FULL, Watermark
from haloy.deploy.pruning import Pruned
from haloy.deploy.space import Disk
from haloy.errors import EngineUnavailable, HaloyError
from tests.fakes.threads import InlineClock

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@define(eq=False)
class Scene:
    """A disk of 1000 bytes, and who makes room on it."""

    free: int = 500
    layers: list[datetime] = field(factory=list)
    pruned: list[tuple[str, int, bool]] = field(factory=list)
    problem: HaloyError | None = None
    clock: InlineClock = field(factory=InlineClock)

    async def clear(self, before: datetime) -> int:
        self.layers.append(before)
        return 2

    async def prune(self, app: str, keep: int, apply: bool) -> Pruned:
        if self.problem is not None:
            raise self.problem
        self.pruned.append((app, keep, apply))
        return Pruned((), ("shop:1",))

    def read(self, path: Path) -> Disk:
        if path == Path("/gone"):
            raise FileNotFoundError(path)
        return Disk(1000, 1000, self.free)

    async def places(self) -> list[Path]:
        return [Path("/data"), Path("/gone")]

    async def apps(self) -> list[str]:
        return ["shop", "blog"]

    def watermark(self) -> Watermark:
        return Watermark(
            self.clock,
            DiskSettings(80, 90, 3),
            self.places,
            self.apps,
            cast(Any, self),
            cast(Any, self),
            lambda: NOW,
            self.read,
        )


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Give what is logged."""
    lines: list[str] = []

    def hear(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(cast(Any, hear))
    yield lines
    globalLogPublisher.removeObserver(cast(Any, hear))


def test_a_disk_with_room(told: list[str]) -> None:
    """Nothing is said and nothing is done; metrics know it."""
    scene = Scene()
    watermark = scene.watermark()
    Deferred.fromCoroutine(watermark.start())
    assert (told, scene.layers) == ([], [])
    assert watermark.disks == {"/data": (500, 1000)}
    Deferred.fromCoroutine(watermark.stop())
    assert not scene.clock.getDelayedCalls()


def test_the_warning_comes_once_an_hour(told: list[str]) -> None:
    """Nothing is removed at this mark."""
    scene = Scene(free=150)
    watermark = scene.watermark()
    Deferred.fromCoroutine(watermark.start())
    scene.clock.pump([60.0] * 59)
    assert told == ["the disk of /data is 85 % full, 150 B are left"]
    scene.clock.pump([60.0] * 2)
    assert len(told) == 2
    assert scene.layers == []
    Deferred.fromCoroutine(watermark.stop())


def test_at_the_next_mark_old_things_of_ours_go(told: list[str]) -> None:
    """Of each app so many deployments stay; not at every look."""
    scene = Scene(free=50)
    watermark = scene.watermark()
    Deferred.fromCoroutine(watermark.start())
    scene.clock.pump([60.0] * 9)
    assert scene.layers == [NOW - LAYER_LIFE_FULL]
    assert scene.pruned == [("shop", 3, True), ("blog", 3, True)]
    assert "2 layers and 2 old images of our apps were removed" in told[-1]
    scene.clock.advance(60)
    assert len(scene.layers) == 2
    Deferred.fromCoroutine(watermark.stop())


def test_docker_away_is_no_reason_to_stop_looking(told: list[str]) -> None:
    """It is told; the next look comes."""
    scene = Scene(free=0, problem=EngineUnavailable("Docker is away"))
    watermark = scene.watermark()
    Deferred.fromCoroutine(watermark.start())
    assert "making room failed" in told[-1]
    scene.free = 500
    scene.clock.advance(60)
    assert watermark.disks == {"/data": (500, 1000)}
    Deferred.fromCoroutine(watermark.stop())


def test_a_layer_outlives_its_upload() -> None:
    """A client that was told that it is here has time to use it."""
    assert timedelta(hours=1) < LAYER_LIFE_FULL
