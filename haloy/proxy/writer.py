"""What is served, written to the disk soon and beside the reactor.

A disk that fails or is full costs a line in the log, and nothing of what is served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from haloy.tasks import Tasks

#: So often at most; what is lost by a crash haloyd sends again.
_WRITE_EVERY_S: Final = 0.2


class Writer:
    """Writes things of several kinds, of each kind the newest."""

    _log = Logger()

    def __init__(self, reactor: Any, tasks: Tasks) -> None:
        self._reactor = reactor
        self._tasks = tasks
        self._unwritten: dict[str, Callable[[], None]] = {}
        self._writing = False

    def write(self, kind: str, how: Callable[[], None]) -> None:
        """Call C{how} soon, in a thread; an earlier one of its kind is left out."""
        self._unwritten[kind] = how
        if not self._writing:
            self._writing = True
            self._tasks.start("writing what is served", self._keep_writing())

    async def _keep_writing(self) -> None:
        try:
            while self._unwritten:
                await deferLater(self._reactor, _WRITE_EVERY_S)
                _, how = self._unwritten.popitem()
                written: Deferred[None] = deferToThreadPool(
                    self._reactor, self._reactor.getThreadPool(), how
                )
                try:
                    await written
                except OSError as problem:
                    self._not_kept(problem)
        finally:
            self._writing = False

    def write_now(self) -> None:
        """Write what is left before the process ends."""
        while self._unwritten:
            _, how = self._unwritten.popitem()
            try:
                how()
            except OSError as problem:
                self._not_kept(problem)

    def _not_kept(self, problem: OSError) -> None:
        self._log.error(
            "what is served cannot be kept: {problem}", problem=str(problem)
        )
