"""What is served, written to the disk soon and beside the reactor.

A disk that fails or is full costs a line in the log now and then, and nothing of what
is served; when it takes things again, it gets the newest.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from haloy.tasks import Tasks

#: So often at most; what is lost by a crash haloyd sends again.
_WRITE_EVERY_S: Final = 0.2
#: After a failure, the next attempts: later and later.
_FIRST_AGAIN_S: Final = 1.0
_LAST_AGAIN_S: Final = 30.0


class Writer:
    """Writes things of several kinds, of each kind the newest."""

    _log = Logger()

    def __init__(self, reactor: Any, tasks: Tasks) -> None:
        self._reactor = reactor
        self._tasks = tasks
        self._unwritten: dict[str, Callable[[], None]] = {}
        self._writing = False
        self._turn = Lock()
        self._ended = False

    def write(self, kind: str, how: Callable[[], None]) -> None:
        """Call C{how} soon, in a thread; an earlier one of its kind is left out."""
        self._unwritten[kind] = how
        if not self._writing:
            self._writing = True
            self._tasks.start("writing what is served", self._keep_writing())

    async def _keep_writing(self) -> None:
        again_s = 0.0
        try:
            while self._unwritten:
                await deferLater(self._reactor, again_s or _WRITE_EVERY_S)
                kind, how = next(iter(self._unwritten.items()))
                written: Deferred[None] = deferToThreadPool(
                    self._reactor, self._reactor.getThreadPool(), self._in_turn, how
                )
                try:
                    await written
                    again_s = 0.0
                except OSError as problem:
                    again_s = min(2 * again_s or _FIRST_AGAIN_S, _LAST_AGAIN_S)
                    self._not_kept(problem)
                newest = self._unwritten.pop(kind)
                if again_s or newest is not how:
                    self._unwritten[kind] = newest  # after those of other kinds
        finally:
            self._writing = False

    def write_now(self) -> None:
        """Write what is left before the process ends, and nothing after that."""
        with self._turn:
            for how in self._unwritten.values():
                try:
                    how()
                except OSError as problem:
                    self._not_kept(problem)
            self._unwritten.clear()
            self._ended = True

    def _in_turn(self, how: Callable[[], None]) -> None:
        """Write in a thread, unless all was written: the newest is to stay."""
        with self._turn:
            if not self._ended:
                how()

    def _not_kept(self, problem: OSError) -> None:
        self._log.error(
            "what is served cannot be kept: {problem}", problem=str(problem)
        )
