"""What is followed next: what began since, whichever container it is in."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.cli.successors import LOOK_S, WAIT_S, Run, runs_of, successors
from haloy.errors import NotFound, ServerUnreachable

OLD = Run("a", 1_735_689_600.123 - 0.001)


def status(*replicas: tuple[str, str, str]) -> dict[str, Any]:
    """Return a status; replicas are container, state and since when."""
    keys = ("containerId", "state", "startedAt")
    return {"replicas": [dict(zip(keys, one, strict=True)) for one in replicas]}


RUNS = ("a", "running", "2025-01-01T00:00:00.123Z")
AGAIN = ("a", "running", "2025-01-01T00:00:09Z")
OTHER = ("b", "running", "2025-01-01T00:00:10Z")


@define
class Server:
    """Answers one after the other, then always the last."""

    answers: list[Any]
    asked: int = field(default=0, init=False)

    async def status(self, app: str) -> dict[str, Any]:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        found: dict[str, Any] = answer
        return found


def ask(server: Server, clock: Clock) -> list[Any]:
    """Return a list that takes what is found."""
    found: list[Any] = []
    asking = successors(clock, server, "shop", frozenset({OLD}))
    Deferred.fromCoroutine(asking).addBoth(found.append)
    return found


def test_runs() -> None:
    """Only what runs, by container and start; a Go haloyd tells neither."""
    assert runs_of(status(RUNS, ("c", "exited", "2025-01-01T00:00:00Z"))) == {OLD}
    assert runs_of({"state": "running", "containerIds": ["a"]}) == frozenset()


@pytest.mark.parametrize("next_one", [AGAIN, OTHER])
def test_the_next_run(next_one: tuple[str, str, str]) -> None:
    """It may be of the same container; what was followed already is none."""
    clock = Clock()
    found = ask(Server([status(RUNS), status(), status(RUNS, next_one)]), clock)
    clock.pump([LOOK_S] * 2)
    assert [{run.container for run in runs} for runs in found] == [{next_one[0]}]


def test_no_next_run() -> None:
    """A stopped app is left after a while, one that is gone at once."""
    clock = Clock()
    server = Server([status(("a", "exited", "2025-01-01T00:00:00Z"))])
    found = ask(server, clock)
    clock.pump([LOOK_S] * int(WAIT_S / LOOK_S))
    assert found == []
    clock.pump([LOOK_S] * 2)
    assert found == [frozenset()]
    assert ask(Server([NotFound("no shop")]), clock) == [frozenset()]
    assert ask(Server([{"state": "exited"}]), clock) == [frozenset()]


def test_a_server_that_is_away() -> None:
    """That is told, not taken for the app's end."""
    (failure,) = ask(Server([ServerUnreachable("away")]), Clock())
    assert isinstance(failure.value, ServerUnreachable)
