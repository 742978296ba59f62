"""A folder for the state that cannot be used: all is served, and it is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from haloy.proxy.routes import RouteTable
from haloy.proxy.split.state_files import KeptFiles
from tests.proxy.apps import OK
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.split.test_state_files import NOW
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import answering, ask, backend, in_thread, table_of
from tests.support.disks import filled, small_disk

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")


@pytest.fixture
def errors() -> Iterator[list[str]]:
    """Give what is logged as an error."""
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error:
            said.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # a function does
    yield said
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]  # as above


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again sooner."""
    monkeypatch.setattr("haloy.proxy.split.state_writer._EACH_S", 0.05)
    monkeypatch.setattr("haloy.proxy.split.state_writer._FIRST_AGAIN_S", 0.05)
    monkeypatch.setattr("haloy.proxy.split.state_writer._LAST_AGAIN_S", 0.1)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """As a file system that has had an error is mounted anew."""
    remount(folder, "ro")
    try:
        yield
    finally:
        remount(folder, "rw")


def remount(folder: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


def kept(split: Split) -> tuple[int, int]:
    """Return the generation and how many certificates a start would find."""
    found = KeptFiles(split.plan.state).load(NOW)
    return found.table.generation, len(found.certificates)


async def until(reactor: Any, condition: Callable[[], bool]) -> None:
    """Wait; the test's own limit ends it."""
    while not condition():
        await deferLater(reactor, 0.02)


async def reloaded(split: Split, reactor: Any) -> None:
    """Replace the one worker, and wait until the new one serves."""
    before = split.supervisor.pids
    split.supervisor.reload()
    await until(reactor, lambda: split.supervisor.pids not in ((), before))


@only_root
async def test_a_disk_that_takes_nothing(
    start_split: SplitStarter, reactor: Any, tmp_path: Path, errors: list[str]
) -> None:
    """Full, then read-only: what is kept stays whole, and the newest follows."""
    with small_disk(tmp_path / "state", "1m") as state, backend(answering(OK)) as one:
        split = await start_split(workers=1)
        await split.proxy.replace_table(table_of(one))
        await until(reactor, lambda: kept(split) == (1, 0))

        async def suffer(
            trouble: Callable[[Path], AbstractContextManager[None]],
            reason: str,
            generation: int,
        ) -> None:
            errors.clear()
            before = kept(split)
            with trouble(state):
                await split.proxy.replace_table(table_of(one, generation=generation))
                await split.proxy.replace_certificates((certificate(),))
                await until(reactor, lambda: len(errors) > 2)
                assert f"kept in {state}: {reason}" in errors[0]
                assert "see to room there" in errors[0]
                assert kept(split) == before
                await reloaded(split, reactor)
                assert await in_thread(ask, split.http) == (200, b"hello")
            await until(reactor, lambda: kept(split) == (generation, 1))

        await suffer(filled, "No space left", 2)
        await suffer(read_only, "Read-only file system", 3)
        assert not list(state.rglob(".*"))
        await split.proxy.stopService()
        await split.supervisor.stopService()


async def test_a_folder_that_cannot_be_made(
    start_split: SplitStarter, reactor: Any, tmp_path: Path, errors: list[str]
) -> None:
    """It serves what haloyd says, keeps nothing, and says so from the start."""
    place = tmp_path / "state"
    place.write_text("a file")
    split = await start_split(workers=1)
    assert f"kept in {place}: File exists" in errors[0]
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        assert await in_thread(ask, split.http) == (200, b"hello")
    assert place.read_text() == "a file"
    place.unlink()
    await split.proxy.replace_table(RouteTable(2))
    await until(reactor, lambda: kept(split) == (2, 0))
