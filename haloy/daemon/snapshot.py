"""Who was served last, kept across a restart, so that traffic starts at once.

Written after every table; read at start before Docker is asked. A snapshot that
cannot be read is moved aside: routes are then rebuilt from labels.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Final

from attrs import define, evolve, field
from cattrs.preconf.json import make_converter
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
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

    Of several that come during a write only the newest is turned to JSON at all. One
    that cannot be written is tried again: a start would serve what was before it.
    """

    _reactor: Any
    _pool: ThreadPool
    _path: Path
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _pending: Intents | None = field(default=None, init=False)
    _maker: SnapshotMaker = field(factory=SnapshotMaker, init=False)
    _written: bytes = field(default=b"", init=False)
    _writing: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the writes."""
        self._tasks = Tasks(self._log)

    def save(self, intents: Intents) -> None:
        """Write C{intents} soon; only the newest of several is written."""
        self._pending = intents
        if not self._writing:
            self._writing = True
            self._tasks.start("writing the route snapshot", self._drain())

    async def _drain(self) -> None:
        told = False
        try:
            while self._pending is not None:
                intents, self._pending = self._pending, None
                written: Deferred[None] = deferToThreadPool(
                    self._reactor, self._pool, self._write, intents
                )
                try:
                    await written
                except OSError as problem:
                    if not told:
                        self._complain(problem)
                    told = True
                    self._keep(intents)
                    await deferLater(self._reactor, RETRY_S)
        finally:
            self._writing = False

    def _keep(self, intents: Intents) -> None:
        """Have C{intents} written, unless newer ones wait."""
        self._pending = self._pending or intents

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
