"""What takes long, done a little at a time: in order, with a rest after each piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred

#: So long requests wait, at most, for what a new table needs to be done.
_TURN_S: Final = 0.0002
#: So long nothing is done after each turn. Who waits for this CPU, an app or a client,
#: has it then; a worker that went on would have it to itself for up to 4 ms, as the
#: scheduler looks no sooner. An app answers most requests meanwhile, and the answer
#: does not find the next piece of work before it.
REST_S: Final = 0.0004


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
                    await self._turn()
                    began_s = self._clock()
        finally:
            self._order.release()

    async def _turn(self) -> None:
        over: Deferred[None] = Deferred()
        self.after_a_rest(lambda: over.callback(None))
        await over

    def after_a_rest(self, call: Callable[[], object]) -> None:
        """Call C{call} when others had their turn: soon, however much comes."""
        self._reactor.callLater(REST_S, call)
