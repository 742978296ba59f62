"""Ask Docker something from a command that is not the daemon."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from haloy.engine.docker import DockerEngine
from haloy.engine.interface import Engine

T = TypeVar("T")


def ask_engine(question: Callable[[Engine], Coroutine[Any, Any, T]]) -> T:
    """Run C{question} against the local engine and return its answer.

    A reactor runs once in a process: call this once in a command.
    """
    answers: list[T] = []
    problems: list[BaseException] = []

    async def ask(reactor: Any) -> None:
        engine = DockerEngine(reactor)
        try:
            answers.append(await question(engine))
        except Exception as problem:  # carried out of react, which would print it
            problems.append(problem)
        finally:
            await engine.close()

    with suppress(SystemExit):  # how react ends
        react(lambda reactor: Deferred.fromCoroutine(ask(reactor)))
    if problems:
        raise problems[0]
    return answers[0]
