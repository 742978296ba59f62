"""What containers write, as lines with the container they came from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred, DeferredList

from haloy.engine.interface import Engine, Output
from haloy.engine.stream import LineSplitter

LINE_LIMIT_BYTES = 16 * 1024

Send = Callable[[dict[str, Any]], Awaitable[None]]


@define(eq=False)
class _Lines:
    """One container's output on its way to the reader; empty lines are left out."""

    _container: str
    _send: Send
    _splitter: LineSplitter

    async def take(self, output: Output) -> None:
        """Send the lines that C{output} completes."""
        await self._give(self._splitter.feed(output.data))

    async def end(self) -> None:
        """Send what is left."""
        await self._give(self._splitter.end())

    async def _give(self, lines: list[bytes]) -> None:
        for line in lines:
            if line:
                text = line.decode(errors="replace")
                await self._send({"containerId": self._container, "line": text})


@frozen
class Wanted:
    """Which lines: the last C{tail}, none older than C{since_s}, and what comes."""

    tail: int
    follow: bool
    since_s: float = 0.0


async def container_lines(
    engine: Engine, containers: list[str], wanted: Wanted, send: Send
) -> None:
    """Send the lines of all C{containers}; return when all have ended."""

    async def one(container: str) -> None:
        lines = _Lines(container, send, LineSplitter(LINE_LIMIT_BYTES))
        await engine.logs(
            container, wanted.tail, wanted.follow, lines.take, wanted.since_s
        )
        await lines.end()

    running = [Deferred.fromCoroutine(one(container)) for container in containers]
    try:
        ended: list[tuple[bool, Any]] = await DeferredList(running, consumeErrors=True)
        for done, result in ended:
            if not done:
                result.raiseException()
    finally:
        for each in running:
            each.cancel()
