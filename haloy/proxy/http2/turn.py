"""What is done once when a turn of the reactor ends, however much happened in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.logger import Logger

from haloy.proxy.descriptor import Reactor


class Flushable(Protocol):
    """A connection with something to write."""

    def flush(self) -> None:
        """Write it."""

    def drop(self) -> None:
        """End now: writing has failed in a way that nobody foresaw."""


class Turn:
    """The connections to flush when this turn ends.

    The lean reactor says when that is; the stock one is asked for a call at once.
    """

    _log = Logger()

    __slots__ = ("_asked", "_at_end", "_first", "_marked")

    def __init__(self, reactor: Reactor) -> None:
        self._first: list[Flushable] = []
        self._marked: list[Flushable] = []
        self._asked = False
        at_end: Callable[[Callable[[], None]], object] | None
        at_end = getattr(reactor, "at_turn_end", None)
        self._at_end = at_end or (lambda call: reactor.callLater(0, call))

    def mark(self, one: Flushable) -> None:
        """Flush C{one} at the end; the caller sees to it that this is said once."""
        self._marked.append(one)
        if not self._asked:
            self._ask()

    def mark_first(self, one: Flushable) -> None:
        """As L{mark}, before all others, and before those that it marks by that."""
        self._first.append(one)
        if not self._asked:
            self._ask()

    def _ask(self) -> None:
        self._asked = True
        self._at_end(self._run)

    def _run(self) -> None:
        first, self._first = self._first, []
        self._flush(first)
        marked, self._marked = self._marked, []
        self._asked = False
        if self._first:
            self._ask()
        self._flush(marked)

    def _flush(self, marked: list[Flushable]) -> None:
        for one in marked:
            try:
                one.flush()
            except Exception:
                # One connection is lost, not the others, and not the process.
                self._log.failure("writing to a connection failed")
                one.drop()
