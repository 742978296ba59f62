"""A deployment's log: written to the database, followed from there.

Whoever follows reads rows and waits for more, so several may follow, a slow one
costs no memory, and one that comes back after a restart gets what it missed (A4, A5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred

from haloy.deploy.interface import LogEntry
from haloy.store.database import Database
from haloy.store.deployments import LogRow, add_log, read_log

#: What a container wrote is cut to its newest part (C{decisions.md}, SSE).
FIELD_LIMIT_BYTES = 32768


@define(eq=False)
class Journal:
    """Writes and follows the logs of all deployments."""

    _database: Database
    _now: Callable[[], datetime]
    _waiting: list[Deferred[None]] = field(factory=list, init=False)

    async def write(
        self,
        app: str,
        deployment: str,
        level: str,
        message: str,
        fields: Mapping[str, str] | None = None,
        domains: tuple[str, ...] = (),
        *,
        complete: bool = False,
        failed: bool = False,
    ) -> None:
        """Append a line and wake those who follow."""
        short = {
            key: value.encode()[-FIELD_LIMIT_BYTES:].decode(errors="ignore")
            for key, value in (fields or {}).items()
            if value
        }
        await self._database.run(
            add_log,
            app,
            deployment,
            level,
            message,
            self._now(),
            domains,
            short,
            complete,
            failed,
        )
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    async def follow(
        self,
        app: str,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        """Give the lines behind number C{after} to C{consume} until the end marker."""
        while True:
            # Taken before reading, so that a line written meanwhile is not missed.
            more = self._more()
            for row in await self._database.run(read_log, app, deployment, after):
                after = row.seq
                await consume(_entry(row))
                if row.complete:
                    self._forget(more)
                    return
            try:
                await more
            finally:
                self._forget(more)

    async def changed_within(self, reactor: Any, limit_s: float) -> bool:
        """Return whether any line was written before C{limit_s} had passed."""
        more = self._more()
        more.addTimeout(limit_s, reactor)
        try:
            await more
        except defer.TimeoutError:
            return False
        finally:
            self._forget(more)
        return True

    def _more(self) -> Deferred[None]:
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def _forget(self, waiter: Deferred[None]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)


def _entry(row: LogRow) -> LogEntry:
    return LogEntry(
        level=row.level,
        message=row.message,
        at=row.at,
        app=row.app,
        deployment=row.deployment,
        domains=row.domains,
        fields=row.fields,
        complete=row.complete,
        failed=row.failed,
        seq=row.seq,
    )
