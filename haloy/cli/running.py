"""Runs a command's coroutine on the reactor and brings its result back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react

T = TypeVar("T")

#: 128 and the number of SIGINT, as shells have it.
INTERRUPTED = 130


def run(start: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Return what C{start(reactor)} returns; raise what it raises.

    A reactor runs once in a process: one call a command. Ctrl+C ends with 130.
    """
    results: list[T] = []
    problems: list[Exception] = []

    async def carry_out(reactor: Any) -> None:
        try:
            results.append(await start(reactor))
        except CancelledError:  # how Twisted tells it of Ctrl+C
            return
        except Exception as problem:  # carried out of react, which would print it
            problems.append(problem)

    with suppress(SystemExit, KeyboardInterrupt):  # the first is how react ends
        react(lambda reactor: Deferred.fromCoroutine(carry_out(reactor)))
    if problems:
        raise problems[0]
    if not results:
        sys.exit(INTERRUPTED)
    return results[0]
