"""How many connections each worker has, in memory that all workers of one proxy see.

They accept from the same sockets, and whoever is awake takes what comes: of 64
connections at once, one of two workers was seen to get nearly all. So each writes down
how many it has, and who has clearly more than another lets that one go first
(L{haloy.proxy.listener}). Nobody waits for an answer, and a number that is wrong, as a
killed worker leaves it, costs the others a moment for each batch that they accept.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from typing import Final

from attrs import define, field

#: How a worker learns where the memory is and which number is its own: C{FD:PLACE}.
VARIABLE: Final = "HALOY_SHARE"

# As many as twice the workers of a large machine, and those that drain.
_PLACES: Final = 256
_ITEM_BYTES: Final = 4

# What is not worth a wait: so many connections, or an eighth more than the other has.
_SLACK: Final = 4


class Share:
    """One worker's place among the others.

    0 there means that it accepts nothing, else it is one more than it has connections.
    """

    __slots__ = ("_counts", "_place")

    def __init__(self, counts: memoryview, place: int) -> None:
        self._counts = counts
        self._place = place

    def note(self, connections: int) -> None:
        """Say that this worker accepts, and how many connections it has."""
        self._counts[self._place] = connections + 1

    def leave(self) -> None:
        """Say that it accepts no more."""
        self._counts[self._place] = 0

    def is_ample(self, connections: int) -> bool:
        """Note C{connections}; tell whether another worker has clearly fewer."""
        self.note(connections)
        if connections <= _SLACK:
            return False
        least = min(filter(None, self._counts.tolist())) - 1
        return connections > least + max(_SLACK, least >> 3)


def whole_share() -> Share:
    """Return the share of somebody who is alone."""
    return Share(memoryview(bytearray(_ITEM_BYTES)).cast("i"), 0)


def given_share(environment: Mapping[str, str]) -> Share:
    """Return the share that the supervisor has given; without one all is ours."""
    descriptor, colon, place = environment.get(VARIABLE, "").partition(":")
    if not colon:
        return whole_share()
    share = Share(_mapped(int(descriptor)), int(place))
    os.close(int(descriptor))
    return share


def _mapped(descriptor: int) -> memoryview:
    return memoryview(mmap.mmap(descriptor, _PLACES * _ITEM_BYTES)).cast("i")


@define(eq=False)
class Shares:
    """The supervisor's side: the memory, and who has which place in it."""

    _descriptor: int = field(init=False)
    _counts: memoryview = field(init=False)
    _taken: set[int] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self._descriptor = os.memfd_create("haloy-shares")
        os.ftruncate(self._descriptor, _PLACES * _ITEM_BYTES)
        self._counts = _mapped(self._descriptor)

    def fileno(self) -> int:
        """Return the memory's descriptor, which workers inherit."""
        return self._descriptor

    def take(self) -> int:
        """Return a place for a new worker; the last one is shared by all too many."""
        free = (one for one in range(_PLACES - 1) if one not in self._taken)
        place = next(free, _PLACES - 1)
        self._taken.add(place)
        return place

    def give_back(self, place: int) -> None:
        """Take note that the worker at C{place} has ended."""
        self._taken.discard(place)
        self._counts[place] = 0

    def close(self) -> None:
        """Let go of the memory: there are no workers any more."""
        os.close(self._descriptor)
