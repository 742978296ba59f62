"""What is written when, with a disk that does not always take it; real threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import deferLater
from twisted.logger import Logger

from haloy.proxy.split.state_writer import Writer
from haloy.tasks import Tasks

#: Named in what is told; nothing here writes there.
HERE = Path("here")


async def until(reactor: Any, condition: Callable[[], bool]) -> None:
    """Wait; the test's own limit ends it."""
    while not condition():
        await deferLater(reactor, 0.01)


async def test_the_newest_of_each_kind(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes alone is written at once; then what was replaced is left out."""
    monkeypatch.setattr("haloy.proxy.split.state_writer._EACH_S", 3600.0)
    done: list[str] = []
    writer = Writer(reactor, tasks := Tasks(Logger()), HERE)
    writer.write("a", lambda: done.append("a1"))
    writer.write("b", lambda: done.append("b1"))
    await until(reactor, lambda: len(done) == 2)
    assert sorted(done) == ["a1", "b1"]
    writer.write("a", lambda: done.append("a2"))
    writer.write("a", lambda: done.append("a3"))
    await tasks.stop()  # nothing is due before long
    writer.write_now()
    assert done[2:] == ["a3"]


async def test_a_stream_is_written_now_and_then(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest of it is, when it is due; what came before that is not."""
    monkeypatch.setattr("haloy.proxy.split.state_writer._EACH_S", 0.5)
    done: list[int] = []
    writer = Writer(reactor, Tasks(Logger()), HERE)
    began_s = reactor.seconds()
    for number in range(20):
        writer.write("a", lambda number=number: done.append(number))  # type: ignore[misc]  # bound here
        await deferLater(reactor, 0.05)
    await until(reactor, lambda: done[-1] == 19)
    assert len(done) <= 2 + (reactor.seconds() - began_s) / 0.5


async def test_what_fails_holds_up_nothing_else(
    reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again after the others, until the disk takes it or newer comes."""
    monkeypatch.setattr("haloy.proxy.split.state_writer._FIRST_AGAIN_S", 0.05)
    done: list[str] = []
    full = threading.Event()
    full.set()

    def table() -> None:
        if full.is_set():
            done.append("failed")
            raise OSError(28, "No space left on device")
        done.append("table")

    writer = Writer(reactor, Tasks(Logger()), HERE)
    writer.write("table", table)
    writer.write("certificates", lambda: done.append("certificates"))
    await until(reactor, lambda: done.count("failed") == 2)
    assert sorted(done) == ["certificates", "failed", "failed"]
    full.clear()
    await until(reactor, lambda: done[-1] == "table")
    await deferLater(reactor, 0.3)
    assert done[-1] == "table"
    assert done.count("table") == 1


async def test_the_end_waits_for_nobody_and_loses_nothing(reactor: Any) -> None:
    """What a thread writes and what waits is written; nothing old comes after it."""
    done: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    def old() -> None:
        begun.set()
        go_on.wait(10)
        done.append("old")

    tasks = Tasks(Logger())
    writer = Writer(reactor, tasks, HERE)
    writer.write("a", old)
    await until(reactor, begun.is_set)
    writer.write("a", lambda: done.append("new"))
    writer.write("b", lambda: done.append("b"))
    await tasks.stop()
    go_on.set()
    writer.write_now()
    assert [one for one in done if one != "b"] == ["old", "new"]
    assert done[-1] == "b"
    at_the_end = tuple(done)
    writer.write_now()
    await deferLater(reactor, 0.1)
    assert tuple(done) == at_the_end
