"""What waits for clients that do not take it, held to a limit in the whole process.

Windows and pauses bound what one request holds, not how many requests there are. Where
the next read, or the next flush, could pass the limit, those are cut whose time would
be up first: the ones that stalled before all others. So the limit shortens that time,
and only for who uses it up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

from twisted.logger import Logger

from haloy.proxy.http2.sender import PROCESS_LIMIT_BYTES

#: No read takes in more, and no flush of a connection leaves more to the kernel's next
#: turn. Where less than this is left, room is made first: a turn may have a thousand
#: reads of which each keeps to the limit only because of that.
STEP_BYTES: Final = 1048576
#: More than this, and room has to be made.
ROOM_BYTES: Final = PROCESS_LIMIT_BYTES - STEP_BYTES

# So far below the limit it goes, so that the next look at everybody is not due at once.
_SPARE_BYTES: Final = PROCESS_LIMIT_BYTES // 8


class Held(NamedTuple):
    """Something that waits, and what ends it; at C{due_s} its time would be up."""

    due_s: float
    size_bytes: int
    give_up: Callable[[], None]


class Holder(Protocol):
    """A connection of a client."""

    def stalling(self) -> Iterable[Held]:
        """Return what waits on it."""


class Waiting(Protocol):
    """What holds count and clients: the switch.

    @ivar waits: how many bytes wait in the process.
    """

    waits: int

    @property
    def clients(self) -> Iterable[Holder]:
        """All connections."""


def chosen(held: Iterable[Held], excess_bytes: int) -> Sequence[Held]:
    """Return what goes for C{excess_bytes} to be gone: first due, then large ones."""
    found = []
    for one in sorted(held, key=lambda one: (one.due_s, -one.size_bytes)):
        if excess_bytes <= 0:
            break
        found.append(one)
        excess_bytes -= one.size_bytes
    return found


class Shedding:
    """Looks at everybody when the next step could pass the limit."""

    _log = Logger()

    __slots__ = ("_switch",)

    def __init__(self, switch: Waiting) -> None:
        self._switch = switch

    def make_room(self) -> None:
        """Cut what is too much, if it is.

        Whoever is about to take bytes in asks for it, before anything else: those that
        are cut must not be in the middle of something, and the one that asks may be one
        of them.
        """
        switch = self._switch
        if switch.waits <= ROOM_BYTES:
            return
        excess_bytes = switch.waits - PROCESS_LIMIT_BYTES + _SPARE_BYTES
        gone = chosen(
            [one for client in tuple(switch.clients) for one in client.stalling()],
            excess_bytes,
        )
        for one in gone:
            one.give_up()
        if gone:
            self._log.warn(
                "clients do not take their answers: {count} of the longest stalled "
                "are cut",
                count=len(gone),
            )
