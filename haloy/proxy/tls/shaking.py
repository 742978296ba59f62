"""Whose handshake goes on when many want to: a little in each turn, address by address.

A handshake costs as much as ten requests and more, and everybody may begin one. Those
that are too many for a turn wait behind everything else, and among themselves by turns
of the addresses they come from: a thousand of one address hold up no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from twisted.logger import Logger

from haloy.proxy.http2.turn import Turn

#: So long others wait for handshakes, at most, and for one more.
TURN_S: Final = 0.002


class Shaking(Protocol):
    """A connection inside of its handshake.

    @ivar gone: it has ended.
    """

    gone: bool

    @property
    def peer(self) -> str:
        """The client: an address, or a network."""

    def shake(self) -> None:
        """Take what has come, and answer."""

    def pause(self) -> None:
        """Stop reading."""

    def resume(self) -> None:
        """Go on reading."""

    def drop(self) -> None:
        """End now."""


class HandshakeQueue:
    """The handshakes of one worker."""

    _log = Logger()

    __slots__ = ("_clock", "_marked", "_spent_s", "_turn", "_waiting")

    def __init__(self, turn: Turn, clock: Callable[[], float]) -> None:
        """Use C{clock}, in monotonic seconds, to know what a turn's have cost."""
        self._turn = turn
        self._clock = clock
        self._spent_s = 0.0
        self._marked = False
        self._waiting: dict[str, deque[Shaking]] = {}

    def go_on(self, one: Shaking) -> None:
        """Let C{one} go on, now or when it is its turn."""
        if self._waiting or self._spent_s >= TURN_S:
            one.pause()
            self._waiting.setdefault(one.peer, deque()).append(one)
        else:
            self._step(one)

    def _step(self, one: Shaking) -> None:
        began_s = self._clock()
        one.shake()
        self._spent_s += self._clock() - began_s
        if not self._marked:
            self._marked = True
            self._turn.mark(self)

    def flush(self) -> None:
        """Go on with those that wait; a turn ends."""
        self._marked = False
        self._spent_s = 0.0
        while self._waiting and self._spent_s < TURN_S:
            one = self._next()
            if one.gone:
                continue
            one.resume()
            try:
                self._step(one)
            except Exception:
                self._log.failure("a handshake failed")
                one.drop()
        if self._waiting and not self._marked:
            self._marked = True
            self._turn.mark(self)

    def _next(self) -> Shaking:
        """Take the next one of the next address."""
        peer = next(iter(self._waiting))
        waiting = self._waiting.pop(peer)
        one = waiting.popleft()
        if waiting:
            self._waiting[peer] = waiting
        return one

    def drop(self) -> None:
        """Go on in the next turn: one fault is no reason to forget the others."""
        self._marked = False
