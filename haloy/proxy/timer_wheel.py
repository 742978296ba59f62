"""Deadlines of many connections behind one timer.

A deadline that moves later costs one assignment; only one that moves to before the
place where its owner waits costs an insertion. Granularity is the tick; nothing
expires early. Time is monotonic, so a jump of the wall clock does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

TICK_S: Final = 0.25
#: A reader that takes nothing for this long is cut.
STALLED_S: Final = 60.0
NEVER: Final = float("inf")


class Timed(Protocol):
    """What can have a deadline: two attributes that belong to the wheel."""

    due_s: float
    slot: int

    def expired(self) -> None:
        """Learn that the deadline has passed."""


class TimerWheel:
    """Deadlines in buckets of one tick."""

    __slots__ = ("_buckets", "_done", "clock", "now_s")

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start now, by C{clock}: monotonic seconds.

        C{clock} stays there for exact times; C{now_s} is that of the last tick.
        """
        self.clock = clock
        self._buckets: dict[int, dict[Timed, None]] = {}
        self.now_s = clock()
        self._done = int(self.now_s / TICK_S)

    def arm(self, what: Timed, delay_s: float) -> None:
        """Call C{what.expired()} when C{delay_s} have passed, unless armed anew."""
        due_s = what.due_s = self.now_s + TICK_S + delay_s
        slot = int(due_s / TICK_S) + 1
        if not what.slot or slot < what.slot:
            self._put(what, slot)

    def forget(self, what: Timed) -> None:
        """Forget C{what} itself, which has no deadline any more and may go."""
        what.due_s = NEVER
        if what.slot:
            self._take_out(what)
            what.slot = 0

    def tick(self) -> None:
        """Let everything expire whose deadline has passed."""
        self.now_s = now_s = self.clock()
        current = int(now_s / TICK_S)
        if current - self._done > len(self._buckets):
            # After a long pause, or an idle time, there are fewer buckets than ticks.
            slots = sorted(slot for slot in self._buckets if slot <= current)
        else:
            slots = list(range(self._done + 1, current + 1))
        self._done = current
        for slot in slots:
            for what in self._buckets.pop(slot, ()):
                # One that was forgotten meanwhile has another number.
                if what.slot == slot:
                    what.slot = 0
                    self._visit(what, now_s)

    def _visit(self, what: Timed, now_s: float) -> None:
        if what.due_s <= now_s:
            what.due_s = NEVER
            what.expired()
        elif what.due_s < NEVER:
            self._put(what, int(what.due_s / TICK_S) + 1)

    def _put(self, what: Timed, slot: int) -> None:
        if what.slot:
            self._take_out(what)
        what.slot = slot
        bucket = self._buckets.get(slot)
        if bucket is None:
            self._buckets[slot] = {what: None}
        else:
            bucket[what] = None

    def _take_out(self, what: Timed) -> None:
        bucket = self._buckets.get(what.slot)
        if bucket is not None:
            bucket.pop(what, None)
