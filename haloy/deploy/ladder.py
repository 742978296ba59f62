"""When something that failed may be tried again. Pure: the caller brings the time."""

from __future__ import annotations

from attrs import define, field, frozen


@frozen
class _Rung:
    not_before_s: float
    wait_s: float


@define(eq=False)
class Ladder:
    """Waits that double from C{first_s} to C{longest_s}, for each key of its own.

    After C{longest_s} without a try a key begins at the bottom again. Times are
    seconds of one monotonic clock.
    """

    first_s: float
    longest_s: float
    _rungs: dict[str, _Rung] = field(factory=dict, init=False)

    def may_try(self, key: str, now_s: float) -> bool:
        """Return whether C{key} may be tried now, and count it as tried."""
        rung = self._rungs.get(key)
        if rung is not None and now_s < rung.not_before_s:
            return False
        wait_s = self.first_s
        if rung is not None and now_s < rung.not_before_s + self.longest_s:
            wait_s = min(rung.wait_s * 2, self.longest_s)
        self._rungs[key] = _Rung(now_s + wait_s, wait_s)
        return True

    def wait_s(self, key: str, now_s: float) -> float:
        """Return how many seconds C{key} has to wait still, 0 when it may be tried."""
        rung = self._rungs.get(key)
        return 0.0 if rung is None else max(0.0, rung.not_before_s - now_s)
