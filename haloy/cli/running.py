"""Runs a command's coroutine on the reactor and brings its result back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

T = TypeVar("T")


def run(start: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Return what C{start(reactor)} returns; raise what it raises.

    A reactor runs once in a process: one call a command. Ctrl+C ends with 130.
    """
    results: list[T] = []
    problems: list[BaseException] = []

    async def carry_out(reactor: Any) -> None:
        try:
            results.append(await start(reactor))
        except BaseException as problem:  # carried out of react, which would print it
            problems.append(problem)

    try:
        react(lambda reactor: Deferred.fromCoroutine(carry_out(reactor)))
    except SystemExit as ended:
        if not results and not problems:
            sys.exit(130 if ended.code else 1)
    except KeyboardInterrupt:
        sys.exit(130)
    if problems:
        raise problems[0]
    return results[0]
