"""Who was served last, kept across a restart, so that traffic starts at once.

Written after a table, but of many a second only now and then; read at start before
Docker is asked. A snapshot that cannot be read is moved aside: routes are then rebuilt
from labels.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field
from cattrs.preconf.json import make_converter
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from haloy.config.fragments import Fragments
from haloy.config.private import set_aside, write_private
from haloy.daemon.intents import Intents
from haloy.model.app import App, Replica
from haloy.tasks import Tasks

_converter = make_converter()

RETRY_S: Final = 5.0
#: So long after one write the next begins, unless somebody waits for it.
EACH_S: Final = 1.0


class SnapshotMaker:
    """Makes one snapshot after the other, of what is as before from its text."""

    def __init__(self) -> None:
        self._apps = Fragments[App](lambda app: _converter.dumps(app, App))
        self._admitted = Fragments[Replica](lambda one: _converter.dumps(one, Replica))

    def to_bytes(self, intents: Intents) -> bytes:
        """Return the snapshot of C{intents}, as L{from_bytes} takes it."""
        rest = _converter.dumps(evolve(intents, apps={}, admitted={}), Intents)
        return b"".join(
            [
                rest[:-1].encode("ascii"),
                b',"apps":',
                *self._apps.object_of(intents.apps),
                b',"admitted":',
                *self._admitted.object_of(intents.admitted),
                b"}",
            ]
        )


def from_bytes(content: bytes) -> Intents:
    """Return the intents of a snapshot. @raise ValueError: it is none."""
    try:
        intents = _converter.loads(content, Intents)
    except Exception as problem:  # whatever a damaged file makes of a converter
        raise ValueError(f"not a snapshot: {problem}") from problem
    return intents


def read_snapshot(path: Path, now: datetime, log: Logger) -> Intents | None:
    """Return the snapshot, C{None} without one; a damaged one is moved aside."""
    try:
        return from_bytes(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        aside = set_aside(path, now)
        log.error(
            "snapshot {path} is damaged: moved to {aside}, "
            "routes are rebuilt from container labels",
            path=str(path),
            aside=str(aside),
        )
        return None


@define(eq=False)
class SnapshotWriter:
    """Writes the newest intents, one write at a time, off the reactor.

    What comes alone is written at once. Of a stream, the newest is every L{EACH_S}, and
    what came before it is never turned to JSON. Whoever stops a container that is no
    longer routed waits for L{kept} first: a start might find only that one in an older
    snapshot. What cannot be written is tried again.

    @ivar _saved: counts what was given, C{_kept} says which of them was written last.
    @ivar _attempts: are told of the next write whether the disk has taken it.
    """

    _reactor: Any
    _pool: ThreadPool
    _path: Path
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _newest: Intents = field(factory=Intents, init=False)
    _saved: int = field(default=0, init=False)
    _kept: int = field(default=0, init=False)
    _maker: SnapshotMaker = field(factory=SnapshotMaker, init=False)
    _written: bytes = field(default=b"", init=False)
    _writing: bool = field(default=False, init=False)
    _due_s: float = field(default=0.0, init=False)
    _pause: Deferred[None] | None = field(default=None, init=False)
    _attempts: list[Deferred[bool]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the writes."""
        self._tasks = Tasks(self._log)

    def save(self, intents: Intents) -> None:
        """Write C{intents} soon; only the newest of several is written."""
        self._newest = intents
        self._saved += 1
        if not self._writing:
            self._writing = True
            self._tasks.start("writing the route snapshot", self._write_all())

    async def kept(self) -> None:
        """Return when what was saved so far is on the disk, or has failed to get there.

        It is written now, whenever the last write was.
        """
        wanted = self._saved
        while self._kept < wanted:
            attempt: Deferred[bool] = Deferred()
            self._attempts.append(attempt)
            self._due_s = 0.0
            if self._pause is not None:
                self._pause.callback(None)
            if not await attempt:
                return

    async def stop(self) -> None:
        """Write what waits, and nothing after that."""
        await self.kept()
        await self._tasks.stop()

    async def _write_all(self) -> None:
        told = False
        try:
            while self._kept < self._saved:
                await self._turn()
                saved, intents = self._saved, self._newest
                self._due_s = self._reactor.seconds() + EACH_S
                written: Deferred[None] = deferToThreadPool(
                    self._reactor, self._pool, self._write, intents
                )
                try:
                    await written
                    self._kept = saved
                except OSError as problem:
                    if not told:
                        self._complain(problem)
                    told = True
                    self._due_s = self._reactor.seconds() + RETRY_S
                self._tell(self._kept == saved)
        finally:
            self._writing = False
            self._tell(False)

    async def _turn(self) -> None:
        """Wait until the next write is due."""
        left_s = self._due_s - self._reactor.seconds()
        if left_s <= 0:
            return
        self._pause = Deferred()
        later = self._reactor.callLater(left_s, self._pause.callback, None)
        try:
            await self._pause
        finally:
            self._pause = None
            if later.active():
                later.cancel()

    def _tell(self, done: bool) -> None:
        attempts, self._attempts = self._attempts, []
        for attempt in attempts:
            attempt.callback(done)

    def _complain(self, problem: OSError) -> None:
        self._log.error(
            "snapshot {path} is tried again every {seconds} s until it is written: "
            "{problem}",
            path=str(self._path),
            seconds=int(RETRY_S),
            problem=problem.strerror or str(problem),
        )

    def _write(self, intents: Intents) -> None:
        """In a thread, one at a time."""
        content = self._maker.to_bytes(intents)
        if content != self._written:
            write_private(self._path, content)
            self._written = content
