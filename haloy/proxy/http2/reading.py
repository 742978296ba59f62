"""Whose turn it is to be read when much comes: so much in each turn, and fairly.

What a client with HTTP/2 sends at once may be a hundred requests, or as many kibibytes
of fields that nobody has met before. As long as there is time in a turn, connections
are read as it comes. Those that come after that wait for its end: there the client goes
first that would be through first if all of them were served at once, each a bit at a
time, and among its connections so does one of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fcntl import ioctl
from heapq import heappop, heappush
from termios import FIONREAD
from time import thread_time
from typing import Final, Protocol

from twisted.logger import Logger

from haloy.proxy.http2.turn import Turn

#: So much work in a turn, at once and then again for those that wait at its end.
TURN_S: Final = 0.01

#: Less is soon done, unless it is many events: then each of them counts for so much.
LITTLE_BYTES: Final = 512
FEW: Final = 4
_EVENT_S: Final = 0.00005
_SOON_S: Final = FEW * _EVENT_S

#: What a byte that is still to be read counts for: a request may be as short as 13. And
#: what all of them do at most, as it is so much that is read at a time.
_BYTE_S: Final = 0.000004
_READ_S: Final = 0.01
_NEVER_S: Final = float("inf")


def come_bytes(fileno: int) -> int:
    """Return how much has come to a socket that was not read yet (FIONREAD)."""
    return int.from_bytes(ioctl(fileno, FIONREAD, bytes(4)), sys.byteorder)


class Reader(Protocol):
    """A connection that is read.

    @ivar paid_s: until when it has had its share, on the clock of its L{_Line}.
    @ivar waits_to_read: it is in the queue.
    """

    paid_s: float
    waits_to_read: bool

    @property
    def peer(self) -> str:
        """The client: an address, or a network."""

    def read_waiting(self) -> None:
        """Read a little of what has come, if it still may."""

    def drop(self) -> None:
        """End now."""


class _Line:
    """The connections of one client that wait.

    Fair queueing: its clock goes as much slower than the work as there are connections
    to share that, so it tells when each would be through (Demers, Keshav and Shenker,
    SIGCOMM 1989). It never goes faster than the time that we work, so one that says
    nothing while we work for as long as it was served owes nobody anything.

    @ivar peer: the client.
    @ivar paid_s: until when the client has had its share, on the clock of the queue.
    @ivar through_s: when its next connection would be through by that, as it was found
        when it was put into the order of lines.
    """

    __slots__ = (
        "_clock",
        "_count",
        "_now_s",
        "_waiting",
        "paid_s",
        "peer",
        "through_s",
    )

    def __init__(self, clock: Callable[[], float], peer: str, paid_s: float) -> None:
        self.peer = peer
        self.paid_s = paid_s
        self.through_s = _NEVER_S
        self._clock = clock
        self._now_s = clock()
        self._count = 0
        self._waiting: list[tuple[float, int, float, Reader]] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, one: Reader, size: int) -> None:
        """Let C{one} wait, to which C{size} bytes have come."""
        one.paid_s = max(one.paid_s, self._now_s)
        self._count += 1
        cost_s = min(size * _BYTE_S, _READ_S)
        heappush(self._waiting, (one.paid_s + cost_s, self._count, cost_s, one))

    def take(self) -> Reader:
        """Return the next one."""
        return heappop(self._waiting)[3]

    @property
    def next_s(self) -> float:
        """When the next one would be through, if the client has its share."""
        return self.paid_s + self._waiting[0][2]

    def served(self, one: Reader, seconds: float) -> None:
        """Count that C{one}, which was taken, took C{seconds}."""
        one.paid_s += seconds
        self.paid_s += seconds
        self._now_s += seconds / (len(self._waiting) + 1)


class ReadQueue:
    """The connections of one worker that wait to be read.

    @ivar clock: seconds that this thread has run. Time would not do: while another
        process has the core, nobody is served, and nobody shall owe that.
    @ivar full: this turn's work is done, or others wait: who comes has to L{wait}.
    """

    _log = Logger()

    __slots__ = (
        "_count",
        "_lines",
        "_marked",
        "_now_s",
        "_order",
        "_spent_s",
        "_turn",
        "clock",
        "full",
    )

    def __init__(self, turn: Turn, clock: Callable[[], float] = thread_time) -> None:
        """Wait for the ends of turns at C{turn}."""
        self._turn = turn
        self.clock = clock
        self._spent_s = 0.0
        self._marked = False
        self._lines: dict[str, _Line] = {}
        # As in a line, with the lines: some are in it twice, as who comes later may be
        # through earlier.
        self._order: list[tuple[float, int, _Line]] = []
        self._count = 0
        self._now_s = 0.0
        self.full = False

    def did(self, began_s: float, events: int) -> None:
        """Count what was done since C{began_s}; 0.0: not noted, it were C{events}."""
        spent_s = self.clock() - began_s if began_s else events * _EVENT_S
        if spent_s > _SOON_S:
            self._spent_s += spent_s
            self.full |= self._spent_s >= TURN_S
            self._mark()

    def wait(self, one: Reader, size: int) -> None:
        """Let C{one} be read when it is its turn; C{size} bytes have come."""
        one.waits_to_read = True
        line = self._lines.get(one.peer)
        if line is None:
            line = self._lines[one.peer] = _Line(self.clock, one.peer, self._now_s)
        line.add(one, size)
        self._arrange(line)
        self._mark()

    def _arrange(self, line: _Line) -> None:
        """Put C{line} where it belongs, unless it is there, or earlier."""
        through_s = line.next_s
        if through_s < line.through_s:
            line.through_s = through_s
            self._count += 1
            heappush(self._order, (through_s, self._count, line))

    def _next(self) -> _Line:
        """Return the line of the client whose turn it is."""
        while True:
            through_s, _, line = heappop(self._order)
            if through_s == line.through_s:
                line.through_s = _NEVER_S
                return line

    def _mark(self) -> None:
        if not self._marked:
            self._marked = True
            # What is answered at once goes out in the same turn.
            self._turn.mark_first(self)

    def flush(self) -> None:
        """Read those that wait; a turn ends."""
        now_s = self.clock()
        end_s = now_s + TURN_S
        while self._lines and now_s < end_s:
            line = self._next()
            one = line.take()
            self._read(one)
            began_s, now_s = now_s, self.clock()
            line.served(one, now_s - began_s)
            self._now_s += (now_s - began_s) / len(self._lines)
            if line:
                self._arrange(line)
            else:
                del self._lines[line.peer]
        if not self._lines:
            self._order.clear()
        self._spent_s = 0.0
        self.full = bool(self._lines)
        self._marked = False
        if self.full:
            self._mark()

    def _read(self, one: Reader) -> None:
        one.waits_to_read = False
        try:
            one.read_waiting()
        except Exception:
            self._log.failure("reading from a connection failed")
            one.drop()

    def drop(self) -> None:
        """Go on in the next turn: one fault is no reason to forget the others."""
        self._marked = False
