"""The daemon's own log as a stream (C{spec/api.md} 4.15).

A reader that is slow loses lines, oldest first, and is told how many: what waits
for it is bounded (E8, A2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred

from haloy.api.sse import event
from haloy.api.streaming import EventWriter

WAITING_LIMIT = 1000


class Record(Protocol):
    """One line of the log."""

    @property
    def level(self) -> str:
        """DEBUG, INFO, WARN or ERROR."""

    @property
    def message(self) -> str:
        """The text; exactly C{request} for a request."""

    @property
    def at(self) -> datetime:
        """When."""

    @property
    def fields(self) -> Mapping[str, str]:
        """What else is known."""

    @property
    def access(self) -> bool:
        """Whether it tells of a request."""


class Log(Protocol):
    """Where lines come from."""

    def recent(self) -> tuple[Any, ...]:
        """Return the newest lines, oldest first."""

    def subscribe(self, follower: Callable[[Any], None]) -> Callable[[], None]:
        """Call C{follower} with every line; returns how to end that."""


@define(eq=False)
class _Waiting:
    """Lines on their way to one reader."""

    _access: bool
    _lines: deque[Record] = field(factory=deque, init=False)
    _lost: int = field(default=0, init=False)
    _wanted: Deferred[None] | None = field(default=None, init=False)

    def take(self, record: Record) -> None:
        """Keep a line, in the place of the oldest when too many wait."""
        if record.access and not self._access:
            return
        if len(self._lines) >= WAITING_LIMIT:
            self._lines.popleft()
            self._lost += 1
        self._lines.append(record)
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)

    async def next(self) -> dict[str, Any]:
        """Return the next line, or how many were lost before it."""
        while not self._lines:
            self._wanted = Deferred()
            await self._wanted
        if self._lost:
            lost, self._lost = self._lost, 0
            text = f"{lost} lines were left out: this reader is too slow"
            return {
                "level": "WARN",
                "message": text,
                "timestamp": _time(self._lines[0].at),
            }
        return entry(self._lines.popleft())


async def follow_log(log: Log, writer: EventWriter, access: bool) -> None:
    """Send the newest lines, then what comes, until the reader leaves."""
    waiting = _Waiting(access)
    unsubscribe = log.subscribe(waiting.take)
    try:
        for record in log.recent():
            await writer.send(event(entry(record)))
        while True:
            await writer.send(event(await waiting.next()))
    finally:
        unsubscribe()


def entry(record: Record) -> dict[str, Any]:
    """Return a line as C{spec/api.md} 3.5 has it.

    A deployment id shorter than eight characters is left out: it ends the Go client.
    """
    fields = dict(record.fields)
    found: dict[str, Any] = {
        "level": record.level,
        "message": record.message,
        "timestamp": _time(record.at),
    }
    deployment = fields.pop("deployment", "")
    if len(deployment) >= 8:
        found["deploymentID"] = deployment
    app = fields.get("app", "")
    if app:
        found["appName"] = app
    if fields:
        found["fields"] = fields
    return found


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")
