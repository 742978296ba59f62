"""Threads that work at once, for tests without a reactor."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.python.failure import Failure


class InlinePool:
    """A thread pool whose work is done before the call returns."""

    def callInThreadWithCallback(self, done: Any, work: Any, *args: Any) -> None:  # noqa: N802  (Twisted)
        try:
            result = work(*args)
        except Exception as problem:  # what a pool does with whatever a job raises
            done(False, Failure(problem))
        else:
            done(True, result)


class InlineClock(Clock):
    """A clock that also takes calls from such threads."""

    def callFromThread(self, call: Any, *args: Any) -> None:  # noqa: N802  (Twisted)
        call(*args)
