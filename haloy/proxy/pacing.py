"""What takes long, done between requests: in order, and a little in each turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet import defer
from twisted.internet.task import deferLater

#: So long requests wait, at most, for what a new table needs to be done.
_TURN_S: Final = 0.0002


class Pace:
    """Takes the steps of one change after the other."""

    def __init__(self, reactor: Any, clock: Callable[[], float]) -> None:
        """Use C{clock}, in monotonic seconds, to know how long a turn has taken."""
        self._reactor = reactor
        self._clock = clock
        self._order = defer.DeferredLock()

    async def take(self, steps: Iterator[None], waited_for: Callable[[], bool]) -> None:
        """Return when all C{steps} are taken; while nobody waits, at once."""
        await self._order.acquire()
        try:
            began_s = self._clock()
            for _ in steps:
                if waited_for() and self._clock() - began_s > _TURN_S:
                    await deferLater(self._reactor, 0)
                    began_s = self._clock()
        finally:
            self._order.release()
