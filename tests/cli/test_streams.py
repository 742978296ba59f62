"""Our standard streams: nothing is lost, nothing waits in vain."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from haloy.cli.streams import KEPT_BYTES, Inlet, Outlet


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
