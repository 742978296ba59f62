"""Our standard streams: nothing is lost, nothing waits in vain."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.threads import deferToThread

from haloy.cli.streams import KEPT_BYTES, READER_LOOK_S, Inlet, Outlet, while_read
from haloy.errors import ServerUnreachable


@define(eq=False)
class Session:
    """What a command's session is asked to do."""

    asked: list[str] = field(factory=list)
    input: bytes = b""
    started: Deferred[None] = field(factory=Deferred)
    ended: Deferred[None] = field(factory=Deferred)

    async def write(self, data: bytes) -> None:
        self.input += data

    def end_input(self) -> None:
        self.ended.callback(None)

    def hold(self) -> None:
        self.asked.append("hold")

    def go_on(self) -> None:
        self.asked.append("go on")

    def close(self) -> None:
        self.asked.append("close")


@pytest.fixture
def pipe() -> Iterator[tuple[int, Any]]:
    """Give the reading end of a pipe, and a stream that writes to it."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        yield reading, stream
    os.close(reading)


async def test_a_slow_reader_gets_all(
    reactor: Any, pipe: tuple[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command waits meanwhile, and goes on when there is room again."""
    session = Session()
    monkeypatch.setattr(sys, "stdout", pipe[1])  # pytest sets it anew for each test
    out = Outlet(reactor)
    out.source = session
    sent = bytes(range(256)) * (KEPT_BYTES // 128)
    out.take("stdout", sent)
    assert session.asked == ["hold"]
    await deferLater(reactor, 0.05)
    assert session.asked == ["hold"], "a pipe that nobody reads takes little"

    def read() -> bytes:
        got = b""
        while len(got) < len(sent):
            got += os.read(pipe[0], 65536)
        return got

    reading = deferToThread(read)
    await out.written()
    assert (await reading == sent) is True  # a difference would be too long to show
    assert session.asked == ["hold", "go on"]


@pytest.mark.parametrize("filled", [False, True])
async def test_nobody_reads(
    reactor: Any, monkeypatch: pytest.MonkeyPatch, filled: bool
) -> None:
    """The command is left, and what went wrong is told."""
    reading, writing = os.pipe()
    session = Session()
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        out = Outlet(reactor)
        out.source = session
        if filled:
            out.take("stdout", bytes(KEPT_BYTES // 2))
            await deferLater(reactor, 0.01)
        os.close(reading)
        out.take("stdout", b"more")
        with pytest.raises(BrokenPipeError):
            await out.written()
        assert session.asked == ["close"]
        out.take("stdout", b"and more")
        with pytest.raises(BrokenPipeError):
            out.check()


@pytest.mark.parametrize("said", [b"", b"hello", b"x" * 300_000])
@pytest.mark.parametrize("way", ["pipe", "file"])
async def test_the_end_of_the_input_is_told(
    reactor: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    said: bytes,
    way: str,
) -> None:
    """Also of a pipe that hangs up when empty: else the command waits for ever."""
    session = Session()
    if way == "file":
        (tmp_path / "input").write_bytes(said)
        reading = os.open(tmp_path / "input", os.O_RDONLY)
        feeding = None
    else:
        reading, writing = os.pipe()

        def feed() -> None:
            with os.fdopen(writing, "wb") as stream:
                stream.write(said)

        feeding = deferToThread(feed)
    with os.fdopen(reading) as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        inlet = Inlet(reactor, session)
        inlet.start()
        session.started.callback(None)
        await session.ended
        if feeding is not None:
            await feeding
        inlet.stop()
    assert session.input == said


@pytest.mark.parametrize("how", ["cancelled", "told", "in other words"])
def test_the_reader_leaves(
    pipe: tuple[int, Any], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Whatever becomes of what was under way: the reader's leaving is what counts."""

    async def working() -> str:
        try:
            await Deferred()
        except CancelledError:
            if how == "cancelled":
                raise
            if how == "in other words":
                raise ServerUnreachable("the host is not found") from None
        return "a list of problems"

    monkeypatch.setattr(sys, "stdout", pipe[1])
    clock = Clock()
    ended: list[Any] = []
    Deferred.fromCoroutine(while_read(clock, working())).addBoth(ended.append)
    clock.advance(READER_LOOK_S)
    assert ended == []
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, pipe[0])  # which closes the pipe's end
    os.close(null)
    clock.advance(READER_LOOK_S)
    (failure,) = ended
    assert failure.check(BrokenPipeError) is not None


def test_who_is_read_goes_on(
    pipe: tuple[int, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way ends as it does."""

    async def working(fails: bool) -> str:
        if fails:
            raise ServerUnreachable("away")
        return "done"

    monkeypatch.setattr(sys, "stdout", pipe[1])
    ended: list[Any] = []
    for fails in (False, True):
        reading = while_read(Clock(), working(fails))
        Deferred.fromCoroutine(reading).addBoth(ended.append)
    assert ended[0] == "done"
    assert ended[1].check(ServerUnreachable) is not None
