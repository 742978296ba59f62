"""How long the phases of deployments take."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.deploy import plan
from haloy.deploy.phases import APPS_LIMIT, OTHER, Phase, PhaseTimes, phase_of
from haloy.errors import DeployFailed
from tests.deploy.world import ONE, TWO, World


def test_what_is_done_in_a_phase_is_counted() -> None:
    """Summed by app and phase, also what fails."""
    clock = Clock()
    times = PhaseTimes(clock)
    for _ in range(2):
        with times.during("shop", Phase.STARTING):
            clock.advance(1.5)

    def fail() -> None:
        with times.during("shop", Phase.CHECKING):
            clock.advance(4)
            raise DeployFailed("no", failure="exited")

    with pytest.raises(DeployFailed):
        fail()
    assert times.spent_s == {("shop", "starting"): 3.0, ("shop", "checking"): 4.0}


def test_apps_are_bounded() -> None:
    """Whoever may deploy cannot make the metrics grow without end."""
    times = PhaseTimes(Clock())
    for number in range(APPS_LIMIT + 50):
        times.add(f"app-{number}", Phase.PULLING, 1)
    times.add("app-0", Phase.PULLING, 1)
    assert len(times.spent_s) == APPS_LIMIT + 1
    assert times.spent_s[OTHER, "pulling"] == 50
    assert times.spent_s["app-0", "pulling"] == 2


@pytest.mark.parametrize(
    ("step", "phase"),
    [
        (plan.Create(1), Phase.STARTING),
        (plan.AwaitHealthy((1,)), Phase.CHECKING),
        (plan.Switch((1,)), Phase.SWITCHING),
        (plan.Park(), Phase.SWITCHING),
        (plan.Stop(("a",)), Phase.SWITCHING),
        (plan.DrainStep(("a",)), Phase.DRAINING),
    ],
)
def test_steps_belong_to_phases(step: plan.Step, phase: Phase) -> None:
    """What is not waiting for the app is switching."""
    assert phase_of(step) is phase


async def test_a_deployment_is_counted_by_its_phases(server: World) -> None:
    """All of them; draining when the old version has gone, after the end."""
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.traffic.held[f"shop-{ONE}"] = gate
    await server.deploy(TWO)
    before = {phase for _, phase in server.service.phases_s}
    assert before == {"pulling", "starting", "checking", "switching"}
    gate.callback(None)
    await server.settled(lambda: ("shop", "draining") in server.service.phases_s)
