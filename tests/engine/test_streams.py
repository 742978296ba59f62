"""Pulls as Docker streams them, over a real socket: slow ones, and stuck ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import LoopingCall

from haloy.engine import streams
from haloy.engine.http import EngineHttp
from haloy.engine.pulls import PullProgress
from haloy.errors import EngineUnavailable

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
IDLE_S = 0.5
LAYER = {"id": "a", "status": "Downloading", "progressDetail": {"total": 100}}


class Docker(Protocol):
    """Tells of a pull step by step, C{steps} times, and then ends or says nothing."""

    steps: int = 0
    ends: bool = True

    def dataReceived(self, data: bytes) -> None:
        self.said = 0
        self.talking = LoopingCall(self._say)
        self.transport.write(HEAD)  # type: ignore[union-attr]  # connected
        self.talking.start(IDLE_S / 5)

    def _say(self) -> None:
        transport: Any = self.transport
        if self.said == self.steps:
            self.talking.stop()
            if self.ends:
                transport.write(b"0\r\n\r\n")
            return
        self.said += 1
        line = json.dumps(LAYER).encode() + b"\r\n"
        transport.write(b"%x\r\n%s\r\n" % (len(line), line))

    def connectionLost(self, reason: Any = None) -> None:
        if self.talking.running:
            self.talking.stop()


async def pull(
    reactor: Any, folder: Path, progress: Callable[[PullProgress], None], **script: Any
) -> None:
    kind = type("Scripted", (Docker,), script)
    path = folder / "docker.sock"
    port = reactor.listenUNIX(str(path), Factory.forProtocol(kind))
    try:
        http = EngineHttp(reactor, f"unix://{path}", "1.41")
        await streams.pull(http, "hello:1", None, progress, IDLE_S)
    finally:
        await port.stopListening()


async def test_slow_pull_takes_as_long_as_it_takes(
    reactor: Any, tmp_path: Path
) -> None:
    """A6: only standing still is limited, never the whole."""
    seen: list[PullProgress] = []
    began_s = reactor.seconds()
    await pull(reactor, tmp_path, seen.append, steps=15)
    assert reactor.seconds() - began_s > 2 * IDLE_S
    assert len(seen) == 15


async def test_pull_that_stands_still_fails_by_name(
    reactor: Any, tmp_path: Path
) -> None:
    """A6: nobody waits for a registry that says nothing any more."""
    with pytest.raises(EngineUnavailable, match="hello:1 made no progress"):
        await pull(reactor, tmp_path, lambda _: None, steps=2, ends=False)
