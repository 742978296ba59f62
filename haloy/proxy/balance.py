"""Which upstream serves the next request.

State of a route that outlives tables: L{Rotation} counts on when replicas come and
go, so frequent pushes do not favour the first one. What it knows of an upstream is
the L{Candidate} protocol; time is an argument in seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol, TypeVar

from haloy.model.app import Balance

# A replica new beside older ones gets its share little by little.
SLOW_START_S: Final = 10.0
_FIRST_SHARE: Final = 0.2


class Candidate(Protocol):
    """An upstream as the choice sees it."""

    key: str
    outstanding: int
    ejected_until: float
    full_share_at: float

    @property
    def full(self) -> bool:
        """Whether all its connections are in use."""


C = TypeVar("C", bound=Candidate)


class Rotation:
    """Whose turn it is among the upstreams of one route."""

    __slots__ = ("_credit", "_turn")

    def __init__(self) -> None:
        self._turn = 0
        self._credit: dict[str, float] = {}

    def pick(
        self,
        candidates: Sequence[C],
        now: float,
        tried: Collection[str] = (),
        balance: Balance = Balance.ROUND_ROBIN,
    ) -> C | None:
        """Return who serves next, C{None} when all are in C{tried}.

        An ejected upstream is taken only if there is no other one; one with all
        its connections in use only if the others are, too.
        """
        count = len(candidates)
        if count == 1:
            only = candidates[0]
            return None if only.key in tried else only
        usable = [
            one
            for one in candidates
            if one.ejected_until <= now and not one.full and one.key not in tried
        ]
        if not usable:
            usable = _second_choice(candidates, now, tried)
            if not usable:
                return None
        self._turn += 1
        if balance is Balance.LEAST_OUTSTANDING:
            return self._least_outstanding(usable, now)
        return self._round_robin(usable, now)

    def _round_robin(self, usable: list[C], now: float) -> C:
        count = len(usable)
        for offset in range(count):
            one = usable[(self._turn + offset) % count]
            if one.full_share_at <= now:
                self._turn += offset
                return one
            # A newcomer: it earns a part of a turn each time it is asked.
            share = _share(one, now)
            earned = self._credit.get(one.key, 1.0 - share) + share
            if earned >= 1.0:
                self._credit[one.key] = earned - 1.0
                self._turn += offset
                return one
            self._credit[one.key] = earned
        return usable[self._turn % count]

    def _least_outstanding(self, usable: list[C], now: float) -> C:
        # A newcomer has nothing to do yet, and would get all that comes: what it would
        # have to do then counts by its share.
        loads = [(one.outstanding + 1) / _share(one, now) for one in usable]
        least = min(loads)
        equal = [one for one, load in zip(usable, loads, strict=True) if load == least]
        return equal[self._turn % len(equal)]

    def forget(self, keys: Collection[str]) -> None:
        """Drop what is remembered of upstreams that are gone."""
        if self._credit:  # most have no newcomer
            for key in keys:
                self._credit.pop(key, None)


def _share(one: Candidate, now: float) -> float:
    """Return which part of a full share C{one} is to have: a newcomer has less."""
    if one.full_share_at <= now:
        return 1.0
    return max(_FIRST_SHARE, 1 - (one.full_share_at - now) / SLOW_START_S)


def _second_choice(
    candidates: Sequence[C], now: float, tried: Collection[str]
) -> list[C]:
    left = [one for one in candidates if one.key not in tried]
    admitted = [one for one in left if one.ejected_until <= now]
    return admitted or left


class Backoff:
    """For how long an upstream that refuses connections is left alone, in seconds.

    Doubles from one second to thirty; a success starts it again.
    """

    __slots__ = ("_failures",)

    def __init__(self) -> None:
        self._failures = 0

    def after_failure(self) -> float:
        """Return how long from now it is ejected."""
        self._failures += 1
        return float(min(30, 2 ** min(self._failures - 1, 5)))

    def after_success(self) -> None:
        """Forget the failures."""
        self._failures = 0
