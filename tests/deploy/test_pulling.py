"""What is looked at before and in a pull, and said of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred

from haloy.deploy.pulling import (
    UNSEEN,
    Disk,
    DockerDisk,
    disk_at,
    fullness,
    pull_image,
    refuse_too_large,
)
from haloy.engine.interface import Image
from haloy.errors import InsufficientStorage
from tests.fakes.engine import FakeEngine

GIB = 1 << 30
REF = "shop:1"


@pytest.mark.parametrize(
    ("size", "free", "said"),
    [
        (100 * GIB, 16 * GIB, ""),
        (100 * GIB, 15 * GIB, "15 GiB left: 85 % are used"),
        (10 * GIB, 2 * GIB, ""),
        (10 * GIB, 2 * GIB - 1, "2.0 GiB left: 81 % are used"),
        (0, 0, "0 B left: 100 % are used"),
    ],
)
def test_nearly_full(size: int, free: int, said: str) -> None:
    """By the mark of C{haloyd.yaml}, and on a small disk by what must stay free."""
    assert fullness(Disk(size, free), 85).endswith(said)
    assert bool(fullness(Disk(size, free), 85)) == bool(said)


def test_too_large() -> None:
    """Needed and free are named; what just fits is pulled."""
    refuse_too_large(REF, 5, Disk(10, 5))
    with pytest.raises(InsufficientStorage) as told:
        refuse_too_large(REF, 3 * GIB, Disk(10 * GIB, GIB))
    for words in ("insufficient disk space", REF, "3 GiB more, ", "1 GiB are free"):
        assert words in str(told.value)


def test_a_disk_that_cannot_be_seen(tmp_path: Path) -> None:
    """It is of another machine, or not ours to look at."""
    found = disk_at(str(tmp_path))
    assert found is not None
    assert 0 < found.free <= found.size
    assert disk_at(str(tmp_path / "nothing")) is None


def pulled(engine: FakeEngine, disk: DockerDisk) -> list[tuple[str, str]]:
    """Pull; return what was said, with its level."""
    said: list[tuple[str, str]] = []

    def say(message: str, fields: Mapping[str, str], level: str = "INFO") -> None:
        said.append((level, message))

    done: list[Any] = []
    Deferred.fromCoroutine(pull_image(engine, REF, None, say, disk)).addBoth(
        done.append
    )
    if not isinstance(done[0], Image):
        done[0].raiseException()
    return said


def engine_with(image_dir: str) -> FakeEngine:
    engine = FakeEngine(pulled_bytes=3 * GIB)
    engine.info_value = evolve(engine.info_value, image_dir=image_dir)
    engine.registry[REF] = Image("sha256:new")
    return engine


def test_a_pull_that_does_not_fit_is_ended() -> None:
    """Before it: how little is left. Then Docker's totals decide; nothing is here."""
    engine = engine_with("/d")
    seen: list[str] = []

    def look(folder: str) -> Disk:
        seen.append(folder)
        return Disk(100 * GIB, 2 * GIB)

    with pytest.raises(InsufficientStorage, match="3 GiB more, 2 GiB are free"):
        pulled(engine, DockerDisk(look, lambda: 85))
    assert set(seen) == {"/d"}


def test_a_pull_that_fits() -> None:
    """It is said that the disk is nearly full, and pulled."""
    disk = DockerDisk(lambda _: Disk(100 * GIB, 4 * GIB), lambda: 85)
    assert pulled(engine_with("/d"), disk) == [
        ("WARN", "Docker's disk has 4 GiB left: 96 % are used"),
        ("INFO", "Pulling image"),
    ]


@pytest.mark.parametrize(
    ("image_dir", "disk"),
    [("/d", UNSEEN), ("", DockerDisk(lambda _: Disk(10, 0), lambda: 0))],
)
def test_nothing_is_known_of_the_disk(image_dir: str, disk: DockerDisk) -> None:
    """Docker itself tells when it is full; nothing is guessed."""
    assert pulled(engine_with(image_dir), disk) == [("INFO", "Pulling image")]
