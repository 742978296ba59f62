"""What is served, written to the disk soon and beside the reactor.

What comes alone is written at once, of a stream the newest once a second: it is served
after a crash, until haloyd, which has what was acknowledged, is connected. A disk that
fails or is full costs a line in the log now and then, and nothing of what is served;
when it takes things again, it gets the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from haloy.tasks import Tasks

#: So long after one write the next begins.
_EACH_S: Final = 1.0
#: After a failure, the next attempts: later and later.
_FIRST_AGAIN_S: Final = 1.0
_LAST_AGAIN_S: Final = 30.0


class Writer:
    """Writes things of several kinds, of each kind the newest."""

    _log = Logger()

    def __init__(self, reactor: Any, tasks: Tasks, folder: Path) -> None:
        """Prepare to write into C{folder}."""
        self._folder = folder
        self._reactor = reactor
        self._tasks = tasks
        self._unwritten: dict[str, Callable[[], None]] = {}
        self._due_s: dict[str, float] = {}
        self._writing: set[str] = set()
        self._turn = Lock()
        self._ended = False

    def write(self, kind: str, how: Callable[[], None]) -> None:
        """Call C{how} soon, in a thread; an earlier one of its kind is left out."""
        self._unwritten[kind] = how
        if kind not in self._writing:
            self._writing.add(kind)
            self._tasks.start("writing what is served", self._keep_writing(kind))

    async def _keep_writing(self, kind: str) -> None:
        again_s = 0.0
        try:
            while kind in self._unwritten:
                left_s = self._due_s.get(kind, 0.0) - self._reactor.seconds()
                if left_s > 0:
                    await deferLater(self._reactor, left_s)
                how = self._unwritten[kind]
                written: Deferred[None] = deferToThreadPool(
                    self._reactor, self._reactor.getThreadPool(), self._in_turn, how
                )
                try:
                    await written
                    again_s = 0.0
                except OSError as problem:
                    again_s = min(2 * again_s or _FIRST_AGAIN_S, _LAST_AGAIN_S)
                    self.not_kept(problem)
                self._due_s[kind] = self._reactor.seconds() + (again_s or _EACH_S)
                if not again_s and self._unwritten.get(kind) is how:
                    del self._unwritten[kind]
        finally:
            self._writing.discard(kind)

    def write_now(self) -> None:
        """Write what is left before the process ends, and nothing after that."""
        with self._turn:
            for how in self._unwritten.values():
                try:
                    how()
                except OSError as problem:
                    self.not_kept(problem)
            self._unwritten.clear()
            self._ended = True

    def _in_turn(self, how: Callable[[], None]) -> None:
        """Write in a thread, unless all was written: the newest is to stay."""
        with self._turn:
            if not self._ended:
                how()

    def not_kept(self, problem: OSError) -> None:
        """Tell what that means."""
        self._log.error(
            "what is served cannot be kept in {folder}: {problem}; it is tried again. "
            "Until that works, a haloy-proxy that starts while haloyd is away serves "
            "what was kept before: see to room there, and that the user of haloy-proxy "
            "may write",
            folder=str(self._folder),
            problem=problem.strerror or str(problem),
        )
