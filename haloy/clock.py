"""The time that timers follow."""

from __future__ import annotations

import time
from typing import Any


def make_monotonic(reactor: Any) -> None:
    """Let the timers of C{reactor} not follow the wall clock.

    Twisted's own reactors count by C{time.time}: a clock that is set back by an hour
    would stop every probe, every retry and the watchdog's feeding for an hour, one
    that is set forward would end every wait at once. To be called before anything
    is scheduled: what is keeps the time it has.
    """
    reactor.seconds = time.monotonic
