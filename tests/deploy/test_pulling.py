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
    DockerDisk,
    disk_at,
    fullness,
    pull_image,
    refuse_too_large,
)
from haloy.deploy.space import Disk
from haloy.engine.interface import Image
from haloy.engine.pulls import Arriving, PullProgress
from haloy.errors import InsufficientStorage
from tests.fakes.engine import FakeEngine

GIB = 1 << 30
REF = "shop:1"


def disk(size: int, free: int) -> Disk:
    """Return a disk of which root may use C{free}, and nobody else anything."""
    return Disk(size, free, 0)


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
    assert fullness(disk(size, free), 85).endswith(said)
    assert bool(fullness(disk(size, free), 85)) == bool(said)


def test_too_large() -> None:
    """Needed and free are named; what just fits is pulled."""
    refuse_too_large(REF, 5, disk(10, 5))
    with pytest.raises(InsufficientStorage) as told:
        refuse_too_large(REF, 3 * GIB, disk(10 * GIB, GIB))
    for words in ("insufficient disk space", REF, "3 GiB more, ", "1 GiB are free"):
        assert words in str(told.value)


def test_a_disk_that_cannot_be_seen(tmp_path: Path) -> None:
    """It is of another machine, or not ours to look at."""
    found = disk_at(str(tmp_path))
    assert found is not None
    assert 0 < found.free <= found.size
    assert disk_at(str(tmp_path / "nothing")) is None


def pulled(engine: FakeEngine, docker: DockerDisk) -> list[tuple[str, str]]:
    """Pull; return what was said, with its level."""
    said: list[tuple[str, str]] = []

    def say(message: str, fields: Mapping[str, str], level: str = "INFO") -> None:
        said.append((level, message))

    done: list[Any] = []
    Deferred.fromCoroutine(pull_image(engine, REF, None, say, docker)).addBoth(
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
        return disk(100 * GIB, 2 * GIB)

    with pytest.raises(InsufficientStorage, match="3 GiB more, 2 GiB are free"):
        pulled(engine, DockerDisk(look, lambda: 85))
    assert set(seen) == {"/d"}


def test_a_pull_that_fits() -> None:
    """It is said that the disk is nearly full, and pulled."""
    docker = DockerDisk(lambda _: disk(100 * GIB, 4 * GIB), lambda: 85)
    assert pulled(engine_with("/d"), docker) == [
        ("WARN", "Docker's disk has 4 GiB left: 96 % are used"),
        ("INFO", "Pulling image"),
    ]


@pytest.mark.parametrize(
    ("image_dir", "docker"),
    [("/d", UNSEEN), ("", DockerDisk(lambda _: disk(10, 0), lambda: 0))],
)
def test_nothing_is_known_of_the_disk(image_dir: str, docker: DockerDisk) -> None:
    """Docker itself tells when it is full; nothing is guessed."""
    assert pulled(engine_with(image_dir), docker) == [("INFO", "Pulling image")]


def step(**needed: int) -> PullProgress:
    """Return a pull whose layers, by name, need so many GiB yet."""
    layers = {name: Arriving(0, size * GIB) for name, size in needed.items()}
    return PullProgress("Downloading", 0, 1, 0, 0, layers)


def test_two_pulls_that_fit_only_alone() -> None:
    """The one that asks for more than the other leaves is ended; that one goes on."""
    docker = DockerDisk(lambda _: disk(100 * GIB, 10 * GIB))
    with docker.pulling("one", "/d") as one:
        one.check(step(a=6))
        with (
            pytest.raises(
                InsufficientStorage, match=r"6 GiB more, 10 GiB .*take 6 GiB"
            ),
            docker.pulling("two", "/d") as two,
        ):
            two.check(step(b=6))
        one.check(step(a=6))
        with docker.pulling("three", "/d") as three:
            three.check(step(c=4))
    with docker.pulling("two", "/d") as two:
        two.check(step(b=6))


def test_a_layer_that_two_pulls_wait_for() -> None:
    """Docker fetches it once."""
    docker = DockerDisk(lambda _: disk(100 * GIB, 10 * GIB))
    with docker.pulling("one", "/d") as one, docker.pulling("two", "/d") as two:
        one.check(step(base=6, a=1))
        two.check(step(base=6, b=1))
