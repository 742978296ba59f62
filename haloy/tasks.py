"""The coroutines a service has started and must not outlive it."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    FirstError,
    gatherResults,
)
from twisted.logger import Logger
from twisted.python.failure import Failure

T = TypeVar("T")


async def gathered(running: Sequence[Deferred[T]]) -> list[T]:
    """Return all results in order, or raise the first failure as it is.

    Then, and when this is cancelled, what still runs is cancelled.
    """
    try:
        found: list[T] = await gatherResults(running, consumeErrors=True)
    except FirstError as first:
        for one in running:
            one.cancel()
        first.subFailure.raiseException()
        raise
    return found


@define(eq=False)
class Tasks:
    """The coroutines one service has started and must not outlive it."""

    _log: Logger
    _running: set[Deferred[None]] = field(factory=set, init=False)

    def start(self, what: str, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """Run C{coroutine}; log its failure under the name C{what}.

        The returned L{Deferred} fires with C{None} when the coroutine has ended,
        however it ended; cancelling it cancels the coroutine.
        """
        running = Deferred.fromCoroutine(coroutine)
        self._running.add(running)
        running.addErrback(self._failed, what)
        running.addBoth(lambda _: self._running.discard(running))
        return running

    def cancel(self) -> None:
        """Cancel all that still runs."""
        for running in tuple(self._running):
            running.cancel()

    async def stop(self) -> None:
        """Cancel all that still runs and wait until it has ended."""
        left = tuple(self._running)
        self.cancel()
        await DeferredList(left)

    def _failed(self, failure: Failure, what: str) -> None:
        if failure.check(CancelledError) is None:
            self._log.failure("{what} failed", failure, what=what)
