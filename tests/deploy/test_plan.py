"""Steps by strategy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.deploy.plan import (
    AwaitHealthy,
    Create,
    DrainStep,
    Park,
    SetAside,
    Stop,
    StopDrained,
    Switch,
    Unpark,
    make_plan,
)
from haloy.model.app import Naming, Strategy

DYNAMIC, STATIC = Naming.DYNAMIC, Naming.STATIC


def test_rolling_one_by_one() -> None:
    """New 1 healthy and routed, old 1 drained and stopped, new 2 and so on."""
    assert make_plan(Strategy.ROLLING, DYNAMIC, 3, ("a", "b", "c")) == (
        Create(1),
        AwaitHealthy((1,)),
        Switch((1,), ("a",)),
        DrainStep(("a",)),
        StopDrained(("a",)),
        Create(2),
        AwaitHealthy((2,)),
        Switch((2,), ("b",)),
        DrainStep(("b",)),
        StopDrained(("b",)),
        Create(3),
        AwaitHealthy((3,)),
        Switch((3,), ("c",)),
    )


def test_rolling_from_one_to_three() -> None:
    """The only old replica goes with the last new one."""
    plan = make_plan(Strategy.ROLLING, DYNAMIC, 3, ("a",))
    assert [one for one in plan if isinstance(one, Switch)] == [
        Switch((1,)),
        Switch((2,)),
        Switch((3,), ("a",)),
    ]
    assert not any(isinstance(one, StopDrained) for one in plan)


def test_rolling_from_three_to_one() -> None:
    """All old ones go in the switch to the only new one."""
    assert make_plan(Strategy.ROLLING, DYNAMIC, 1, ("a", "b", "c")) == (
        Create(1),
        AwaitHealthy((1,)),
        Switch((1,), ("a", "b", "c")),
    )


def test_blue_green() -> None:
    """All new ones are healthy before the one switch."""
    assert make_plan(Strategy.BLUE_GREEN, DYNAMIC, 2, ("a", "b")) == (
        Create(1),
        Create(2),
        AwaitHealthy((1, 2)),
        Switch((1, 2), ("a", "b")),
    )


def test_replace() -> None:
    """Old ones stop first, requests are parked meanwhile, static names are freed."""
    assert make_plan(Strategy.REPLACE, STATIC, 1, ("a",)) == (
        Park(),
        Switch((), ("a",)),
        DrainStep(("a",)),
        Stop(("a",)),
        SetAside(("a",)),
        Create(1),
        AwaitHealthy((1,)),
        Switch((1,)),
        Unpark(),
    )
    assert SetAside(("a",)) not in make_plan(Strategy.REPLACE, DYNAMIC, 1, ("a",))


def test_replace_of_nothing() -> None:
    """A first deployment parks nobody."""
    assert make_plan(Strategy.REPLACE, STATIC, 1, ()) == (
        Create(1),
        AwaitHealthy((1,)),
        Switch((1,)),
    )


@given(
    strategy=st.sampled_from(Strategy),
    replicas=st.integers(1, 6),
    old=st.lists(st.text("abcdef", min_size=1), unique=True, max_size=6),
)
def test_every_plan(strategy: Strategy, replicas: int, old: list[str]) -> None:
    """Each new replica is admitted once and checked before, each old one goes once."""
    plan = make_plan(strategy, DYNAMIC, replicas, tuple(old))
    healthy: set[int] = set()
    admitted: list[int] = []
    gone: list[str] = []
    for step in plan:
        if isinstance(step, AwaitHealthy):
            healthy |= set(step.numbers)
        if isinstance(step, Switch):
            assert set(step.numbers) <= healthy
            admitted += step.numbers
            gone += step.old
        if isinstance(step, Stop | StopDrained | DrainStep):
            assert set(step.containers) <= set(gone)
    assert admitted == list(range(1, replicas + 1))
    assert sorted(gone) == sorted(old)


@pytest.mark.parametrize("strategy", [Strategy.ROLLING, Strategy.BLUE_GREEN])
@pytest.mark.parametrize("replicas", [1, 2, 5])
@pytest.mark.parametrize("old", [1, 2, 5])
def test_somebody_always_serves(strategy: Strategy, replicas: int, old: int) -> None:
    """Before the last step an old replica is left, so that a failure costs nobody."""
    names = tuple("abcdef"[:old])
    plan = make_plan(strategy, DYNAMIC, replicas, names)
    gone = [name for step in plan[:-1] if isinstance(step, Switch) for name in step.old]
    assert len(gone) < old
