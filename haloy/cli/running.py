"""Runs a command's coroutine on the reactor and brings its result back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.task import deferLater, react
from twisted.python.failure import Failure

from haloy.cli.exits import INTERRUPTED
from haloy.errors import HaloyError

T = TypeVar("T")


def run(start: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Return what C{start(reactor)} returns; raise what it raises.

    A reactor runs once in a process: one call a command. Ctrl+C cancels it, so that
    it can put away what it holds, and ends with 130.
    """
    results: list[T] = []
    problems: list[Exception] = []
    stopping: list[bool] = []

    def begin(reactor: Any) -> Deferred[None]:
        running = Deferred.fromCoroutine(carry_out(reactor))

        def stop() -> None:
            stopping.append(True)
            running.cancel()

        reactor.addSystemEventTrigger("before", "shutdown", stop)
        return running

    async def carry_out(reactor: Any) -> None:
        try:
            try:
                result = await start(reactor)
            finally:
                # A Ctrl+C that came while something blocked is heard of in the next
                # turn, and stops in the one after it; what failed, failed of it.
                for _ in range(0 if stopping else 2):
                    await deferLater(reactor, 0)
        except CancelledError:
            return
        except Exception as problem:  # carried out of react, which would print it
            # What ends because of Ctrl+C may say so in other words, here and below.
            if not stopping:
                problems.append(problem)
        else:
            if not stopping:
                results.append(result)

    with suppress(SystemExit, KeyboardInterrupt):  # the first is how react ends
        react(begin)
    if problems:
        raise problems[0]
    if not results:
        sys.exit(INTERRUPTED)
    return results[0]


async def together(
    coroutines: Iterable[Coroutine[Any, Any, T]],
) -> list[T | HaloyError]:
    """Run all at once; return what each gives or the L{HaloyError} it raises.

    One that fails ends no other. @raise Exception: what is no L{HaloyError}.
    """
    running = [Deferred.fromCoroutine(one) for one in coroutines]
    results: list[tuple[bool, Any]] = await _ended(running)
    return [found if ok else _known(found) for ok, found in results]


def _ended(running: list[Deferred[Any]]) -> Deferred[list[tuple[bool, Any]]]:
    """Return when all have ended; cancelling ends all of them."""
    waiting: Deferred[list[tuple[bool, Any]]] = DeferredList(
        running, consumeErrors=True
    )
    return waiting


def _known(failure: Failure) -> HaloyError:
    if isinstance(failure.value, HaloyError):
        return failure.value
    failure.raiseException()
    raise AssertionError("raiseException raises")
