"""What wants doing now and then: new ticket keys, files that nobody finished.

One LoopingCall with an hour between its rounds; the first round is at start, so
that what a crash left behind is gone before anything new is made (E12, A8).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from haloy.errors import HaloyError

INTERVAL_S = 3600.0

#: TLS session ticket keys live this long (C{docs/architecture.md}, TLS).
KEYS_LIFE = timedelta(days=1)

#: An upload that has not moved for this long is nobody's any more.
TEMPORARY_LIFE = timedelta(hours=6)


#: A layer that nobody has asked for in this time is uploaded again if it must be.
LAYER_LIFE = timedelta(days=30)


class Shelf(Protocol):
    """Things of ours with an age."""

    async def clear(self, before: datetime) -> int:
        """Remove what was last used before; return how many."""


class Renewable(Protocol):
    """TLS contexts whose keys can be made anew."""

    def renew(self) -> None:
        """Make new ticket keys."""


@define(eq=False)
class Housekeeping:
    """Does it, by the reactor's clock."""

    _reactor: Any
    _pool: ThreadPool
    _contexts: Renewable
    _temporary: Path
    _now: Callable[[], datetime]
    _layers: Shelf
    _log: Logger = field(factory=Logger, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _keys_made: datetime | None = field(default=None, init=False)

    async def start(self) -> None:
        """Remove all that a crash left behind, then look every hour."""
        self._keys_made = self._now()
        await self._clear(self._now())
        self._loop = LoopingCall(self.round)
        self._loop.clock = self._reactor
        running = self._loop.start(INTERVAL_S, now=False)
        running.addErrback(lambda failure: self._log.failure("housekeeping", failure))

    async def stop(self) -> None:
        """Look no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    async def round(self) -> None:
        """Do what is due."""
        now = self._now()
        if self._keys_made is None or now - self._keys_made >= KEYS_LIFE:
            self._contexts.renew()
            self._keys_made = now
        await self._clear(now - TEMPORARY_LIFE)
        try:
            layers = await self._layers.clear(now - LAYER_LIFE)
        except HaloyError as problem:
            self._log.warn("old layers stay: {problem}", problem=str(problem))
            return
        if layers:
            self._log.info("{count} unused layers removed", count=layers)

    async def _clear(self, before: datetime) -> None:
        cleared: Deferred[int] = deferToThreadPool(
            self._reactor, self._pool, clear_older, self._temporary, before
        )
        count = await cleared
        if count:
            self._log.info("{count} unfinished files removed", count=count)


def clear_older(folder: Path, before: datetime) -> int:
    """Remove the files of C{folder} last written before; return how many.

    Only plain files directly in it: nothing else is ever put there by us.
    """
    count = 0
    if not folder.is_dir():
        return 0
    for path in folder.iterdir():
        try:
            if path.is_file() and path.stat().st_mtime < before.timestamp():
                path.unlink()
                count += 1
        except FileNotFoundError:
            continue
    return count
