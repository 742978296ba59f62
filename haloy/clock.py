"""The time that timers follow, and what happens only now and then."""

from __future__ import annotations

import time
from typing import Any

from attrs import define, field


def make_monotonic(reactor: Any) -> None:
    """Let the timers of C{reactor} not follow the wall clock.

    Twisted's own reactors count by C{time.time}: a clock that is set back by an hour
    would stop every probe, every retry and the watchdog's feeding for an hour, one
    that is set forward would end every wait at once. To be called before anything
    is scheduled: what is keeps the time it has.
    """
    reactor.seconds = time.monotonic


@define(eq=False)
class Seldom:
    """Lets something happen once in a time: what lasts is not told for ever."""

    _every_s: float
    _last_s: float | None = field(default=None, init=False)

    def is_time(self, now_s: float) -> bool:
        """Return whether it may happen now; it is taken to happen then."""
        if self._last_s is not None and now_s - self._last_s < self._every_s:
            return False
        self._last_s = now_s
        return True
