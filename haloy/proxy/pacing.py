"""What takes long, done between requests: in order, and a little in each turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred

#: So long requests wait, at most, for what a new table needs to be done.
_TURN_S: Final = 0.0002
#: So long nothing is done after a turn in which a request came: the app answers most of
#: them meanwhile, and the answer does not find the next piece of work before it.
REST_S: Final = 0.001


class Pace:
    """Takes the steps of one change after the other."""

    def __init__(
        self, reactor: Any, clock: Callable[[], float], requests: Callable[[], int]
    ) -> None:
        """Use C{clock}, in monotonic seconds, to know how long a turn has taken.

        C{requests} counts those that have come.
        """
        self._reactor = reactor
        self._clock = clock
        self._requests = requests
        self._seen = 0
        self._order = defer.DeferredLock()

    async def take(self, steps: Iterator[None], waited_for: Callable[[], bool]) -> None:
        """Return when all C{steps} are taken; while nobody waits, at once."""
        await self._order.acquire()
        try:
            began_s = self._clock()
            for _ in steps:
                if waited_for() and self._clock() - began_s > _TURN_S:
                    await self._turn()
                    began_s = self._clock()
        finally:
            self._order.release()

    async def _turn(self) -> None:
        over: Deferred[None] = Deferred()
        self.after_requests(lambda: over.callback(None))
        await over

    def after_requests(self, call: Callable[[], object]) -> None:
        """Call C{call} when what has come is handled: soon, however much comes."""
        self._reactor.callLater(0, self._look, call)

    def _look(self, call: Callable[[], object]) -> None:
        if self._requests() == self._seen:
            call()
        else:
            self._reactor.callLater(REST_S, self._rested, call)

    def _rested(self, call: Callable[[], object]) -> None:
        self._seen = self._requests()
        call()
