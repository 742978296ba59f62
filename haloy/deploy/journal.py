"""A deployment's log: written to the database, followed from there.

Whoever follows reads rows and waits for more, so several may follow, a slow one
costs no memory, and one that comes back after a restart gets what it missed (A4, A5).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from haloy.deploy.interface import LogEntry
from haloy.errors import HaloyError
from haloy.store.database import Database
from haloy.store.logs import LogRow, add_log, read_log
from haloy.tasks import Tasks

#: What a container wrote is cut to its newest part (C{decisions.md}, SSE).
FIELD_LIMIT_BYTES = 32768
MESSAGE_LIMIT_BYTES = 8192
#: How often, and for how long in all, a log that cannot be read is tried again.
UNREADABLE_RETRY_S = 1.0
UNREADABLE_LIMIT_S = 120.0


@define(eq=False)
class Journal:
    """Writes and follows the logs of all deployments."""

    _database: Database
    _now: Callable[[], datetime]
    _clock: IReactorTime
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _unwritten: dict[tuple[str, str], LogRow] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the writing."""
        self._tasks = Tasks(self._log)

    def line(
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
    ) -> LogRow:
        """Return a line of now, its texts cut to what a stream can carry."""
        short = {
            key: value.encode()[-FIELD_LIMIT_BYTES:].decode(errors="ignore")
            for key, value in (fields or {}).items()
            if value
        }
        return LogRow(
            app=app,
            deployment=deployment,
            level=level,
            message=message.encode()[:MESSAGE_LIMIT_BYTES].decode(errors="ignore"),
            at=self._now(),
            domains=domains,
            fields=short,
            complete=complete,
            failed=failed,
        )

    def say(
        self,
        app: str,
        deployment: str,
        message: str,
        fields: Mapping[str, str] | None = None,
        level: str = "INFO",
    ) -> None:
        """Append a line in the background; lines keep their order."""
        line = self.line(app, deployment, level, message, fields)
        self._tasks.start("writing a deployment's log", self._write(line))

    async def _write(self, line: LogRow) -> None:
        """Append C{line}; a full disk costs the line, never the deployment."""
        try:
            await self._database.run(add_log, line)
        except HaloyError as problem:
            self._log.warn(
                "a line of deployment {deployment} is lost: {problem}",
                deployment=line.deployment,
                problem=str(problem),
            )
        self.wake()

    def wake(self) -> None:
        """Let those who follow look for new lines."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def unwritten(self, end: LogRow) -> None:
        """Tell the end of a deployment that the database does not take now."""
        self._unwritten[end.app, end.deployment] = end
        self.wake()

    def app_unwritten(self, deployment: str) -> str | None:
        """Return the app of an L{unwritten} end, C{None} when there is none."""
        found = (app for app, one in self._unwritten if one == deployment)
        return next(found, None)

    def written(self, app: str, deployment: str) -> None:
        """Forget an L{unwritten} end: it is in the database now."""
        self._unwritten.pop((app, deployment), None)
        self.wake()

    async def follow(
        self,
        app: str,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        """Give the lines behind number C{after} to C{consume} until the end marker.

        While they cannot be read, the end is told all the same when there is one that
        could not be written either.

        @raise HaloyError: they could not be read for L{UNREADABLE_LIMIT_S}.
        """
        read_s = self._clock.seconds()
        while True:
            # Taken before reading, so that a line written meanwhile is not missed.
            more = self.next_line()
            try:
                problem, found = await self._read(app, deployment, after)
                for row in found:
                    after = row.seq
                    await consume(_entry(row))
                    if row.complete:
                        return
                end = self._unwritten.get((app, deployment))
                if end is not None:
                    await consume(_entry(end))
                    return
                if problem is None:
                    await more
                    read_s = self._clock.seconds()
                elif self._clock.seconds() - read_s > UNREADABLE_LIMIT_S:
                    raise problem
                else:
                    await self.came(more, UNREADABLE_RETRY_S)
            finally:
                self.forget(more)

    async def _read(
        self, app: str, deployment: str, after: int
    ) -> tuple[HaloyError | None, list[LogRow]]:
        try:
            return None, await self._database.run(read_log, app, deployment, after)
        except HaloyError as problem:
            return problem, []

    async def came(self, more: Deferred[None], limit_s: float) -> bool:
        """Return whether a line was written before C{limit_s} had passed."""
        more.addTimeout(max(limit_s, 0), self._clock)
        try:
            await more
        except defer.TimeoutError:
            return False
        finally:
            self.forget(more)
        return True

    async def stop(self) -> None:
        """Write no more."""
        await self._tasks.stop()

    @property
    def waiting(self) -> int:
        """How many readers wait for a line."""
        return len(self._waiting)

    def next_line(self) -> Deferred[None]:
        """Return what fires with the next line of any log; then L{forget} it."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        return waiter

    def forget(self, waiter: Deferred[None]) -> None:
        """Wait for C{waiter} no more."""
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
