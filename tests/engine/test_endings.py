"""What C{engine.endings} remembers of a container's end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from attrs import evolve

from haloy.engine.endings import APART, Endings
from haloy.engine.interface import Container, ContainerState, EngineEvent

NOW = datetime(2026, 11, 26, tzinfo=UTC)
ENDED = Container(
    *("c1", "shop-1", "shop:1", "sha256:1", {}, ContainerState.RESTARTING),
    exit_code=0,
    finished_at=NOW,
    memory_limit_bytes=16 << 20,
)


def heard(*events: tuple[str, dict[str, str]], at: datetime = NOW) -> Endings:
    endings = Endings()
    for action, attributes in events:
        endings.note(EngineEvent(action, "c1", attributes, at))
    return endings


def die(code: str) -> tuple[str, dict[str, str]]:
    return "die", {"exitCode": code}


def kill(signal: str) -> tuple[str, dict[str, str]]:
    return "kill", {"signal": signal}


OOM: tuple[str, dict[str, str]] = ("oom", {})


@pytest.mark.parametrize(
    ("events", "code", "memory"),
    [
        ([OOM, die("137")], 137, True),
        ([die("137"), OOM], 137, True),  # told late
        ([OOM, die("1")], 1, True),  # a child of it was killed
        ([die("137")], 137, True),  # the event was lost with the control group
        ([kill("9"), die("137")], 137, False),  # docker kill
        ([kill("15"), kill("9"), die("137")], 137, False),  # docker stop
        ([kill("15"), die("143")], 143, False),
        ([die("3")], 3, False),
        ([die("what")], 0, False),
        ([kill("9"), die("137"), ("start", {}), die("137")], 137, True),
        ([OOM, die("137"), ("start", {}), die("3")], 3, False),
        ([OOM, die("137"), ("destroy", {})], 0, False),
        ([("destroy", {})], 0, False),
        ([OOM], 0, False),  # it runs on
    ],
)
def test_how_it_ended(
    events: list[tuple[str, dict[str, str]]], code: int, memory: bool
) -> None:
    """Code and reason stay when Docker has forgotten them."""
    found = heard(*events).complete(ENDED)
    assert (found.exit_code, found.oom_killed) == (code, memory)


def test_without_a_limit() -> None:
    """Who has no limit may have been killed by anybody on the machine."""
    free = evolve(ENDED, memory_limit_bytes=0)
    assert not heard(die("137")).complete(free).oom_killed
    assert heard(OOM, die("137")).complete(free).oom_killed


def test_what_docker_says_itself_stays() -> None:
    """Its flag is never taken back."""
    said = evolve(ENDED, oom_killed=True, exit_code=137)
    assert heard(kill("9"), die("137")).complete(said) == said
    assert Endings().complete(said) == said


def test_an_end_that_was_not_heard_of() -> None:
    """After a gap in the events an older end says nothing about the newest."""
    later = evolve(ENDED, finished_at=NOW + 2 * APART)
    assert heard(OOM, die("137")).complete(later) == later
    never = evolve(ENDED, finished_at=None)
    assert heard(OOM, die("137")).complete(never) == never


def test_oom_long_after_an_end_is_of_the_next_run() -> None:
    """That run has not ended yet."""
    endings = heard(die("3"))
    later = NOW + timedelta(seconds=60)
    endings.note(EngineEvent("oom", "c1", {}, later))
    endings.note(EngineEvent("die", "c1", {"exitCode": "137"}, later))
    assert endings.complete(evolve(ENDED, finished_at=later)).oom_killed
