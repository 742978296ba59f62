"""What a service has started ends with it, and a failure is told once."""

from __future__ import annotations

from typing import cast

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, LogEvent, Logger
from twisted.python.failure import Failure

from haloy.errors import HaloyError
from haloy.tasks import Tasks, gathered


def _tasks() -> tuple[Tasks, list[LogEvent]]:
    events: list[LogEvent] = []
    return Tasks(Logger("test", observer=cast(ILogObserver, events.append))), events


async def _wait(what: Deferred[None]) -> None:
    await what


def test_a_failure_is_logged_once_under_the_name_of_its_task() -> None:
    """Nobody awaits a task, so its failure must not be lost, nor told twice."""
    tasks, events = _tasks()
    ready: Deferred[None] = Deferred()
    ended = tasks.start("feeding the cat", _wait(ready))
    ready.errback(Failure(ValueError("no cat")))
    (event,) = events
    assert event["what"] == "feeding the cat"
    assert event["log_failure"].check(ValueError)
    assert ended.called
    assert ended.result is None


def test_a_task_that_ends_is_forgotten() -> None:
    """Cancelling afterwards finds nothing left to cancel."""
    tasks, events = _tasks()
    ready: Deferred[None] = Deferred()
    tasks.start("waiting", _wait(ready))
    ready.callback(None)
    tasks.cancel()
    assert events == []
    assert tasks._running == set()


def test_cancelling_is_silent() -> None:
    """A task that is cancelled has not failed."""
    tasks, events = _tasks()
    cancelled: list[Deferred[None]] = []
    ready: Deferred[None] = Deferred(cancelled.append)
    ended = tasks.start("waiting", _wait(ready))
    tasks.cancel()
    assert cancelled == [ready]
    assert ended.called
    assert events == []


def test_stopping_waits_for_what_tidies_up() -> None:
    """C{stop} returns when the last coroutine has ended, not when it was told to."""
    tasks, _ = _tasks()
    tidied: Deferred[None] = Deferred()

    async def careful() -> None:
        try:
            await Deferred()
        finally:
            await tidied

    tasks.start("being careful", careful())
    stopped = Deferred.fromCoroutine(tasks.stop())
    assert not stopped.called
    tidied.callback(None)
    assert stopped.called


def test_stopping_nothing_returns_at_once() -> None:
    """A service that has started no task can stop."""
    tasks, _ = _tasks()
    assert Deferred.fromCoroutine(tasks.stop()).called


async def test_gathered_in_order() -> None:
    """Whichever is done first."""
    one, two = Deferred[int](), Deferred[int]()
    both = Deferred.fromCoroutine(gathered([one, two]))
    two.callback(2)
    one.callback(1)
    assert await both == [1, 2]


async def test_gathered_failure_is_the_failure() -> None:
    """Not wrapped, so that who waits can tell it; the others are cancelled."""
    one, two = Deferred[int](), Deferred[int]()
    both = Deferred.fromCoroutine(gathered([one, two]))
    two.errback(HaloyError("why"))
    with pytest.raises(HaloyError, match="why"):
        await both
    assert one.called


async def test_gathered_and_cancelled() -> None:
    """A cancellation stays one."""
    one = Deferred[int]()
    both = Deferred.fromCoroutine(gathered([one]))
    both.cancel()
    with pytest.raises(CancelledError):
        await both
    assert one.called
