"""How an app is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from haloy.deploy.discovery import Found, discover
from haloy.deploy.interface import AppStatus, DeploymentState
from haloy.deploy.status import app_status
from haloy.engine.interface import ContainerState
from haloy.model.app import Assessment, Verdict
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import Leftover
from tests.deploy.test_discovery import container

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SHOP, ONE, TWO = AppName("shop"), DeploymentId("01one"), DeploymentId("01two")


def found(*states: ContainerState, **values: Any) -> tuple[Found, ...]:
    made = [
        evolve(container(f"shop-01one-r{i}"), state=state, **values)
        for i, state in enumerate(states, 1)
    ]
    return discover(made, ())[0]


def status(members: tuple[Found, ...], **values: Any) -> AppStatus:
    said = {"active": ONE, "draining": {}, "deploying": None} | values
    made = app_status(SHOP, members=members, assess=lambda _: None, **said)
    assert made is not None
    return made


@pytest.mark.parametrize(
    ("states", "told"),
    [
        (("running", "exited"), "running"),
        (("running", "restarting"), "restarting"),
        (("running", "paused"), "paused"),
        (("exited", "created"), "exited"),
        (("dead",), "dead"),
        ((), "unknown"),
    ],
)
def test_most_telling_state(states: tuple[str, ...], told: str) -> None:
    """Of several states the most telling one counts (api 4.18)."""
    members = found(*(ContainerState(one) for one in states))
    assert status(members).state == told


def test_domains_once() -> None:
    """Domains are not repeated for each replica (A16)."""
    members = found(ContainerState.RUNNING, ContainerState.RUNNING)
    assert [one.canonical for one in status(members).domains] == ["a.example"]


def test_draining() -> None:
    """What drains is shown with what it still has; other leftovers are not."""
    old = evolve(container("old", deployment_id="01zero"))
    dead = evolve(container("dead", deployment_id="01zero"))
    members = (*found(ContainerState.RUNNING), *discover([old, dead], ())[0])
    said = status(members, draining={"id-old": Leftover(1, 2)})
    assert [(one.name, one.draining) for one in said.replicas] == [
        ("shop-01one-r1", False),
        ("old", True),
    ]
    assert (said.replicas[1].draining_requests, said.replicas[1].draining_tunnels) == (
        1,
        2,
    )


@pytest.mark.parametrize(
    ("state", "values", "reason"),
    [
        ("restarting", {"restarts": 7, "exit_code": 1}, "started it again 7 times"),
        ("exited", {"exit_code": 137, "oom_killed": True}, "want of memory"),
        ("exited", {"exit_code": 3}, "code 3"),
        ("created", {"error": "no such file"}, "no such file"),
        ("created", {}, "never started"),
        ("paused", {}, "paused"),
    ],
)
def test_trouble_has_a_reason(state: str, values: dict[str, Any], reason: str) -> None:
    """A crash loop and whatever else keeps a replica down is told (D3)."""
    members = found(ContainerState(state), finished_at=NOW, **values)
    (replica,) = status(members).replicas
    assert replica.assessment is not None
    assert replica.assessment.verdict is Verdict.UNHEALTHY
    assert reason in replica.assessment.reason


def test_without_its_network() -> None:
    """One that runs where nobody reaches it is not well, and it is said why."""
    members = found(ContainerState.RUNNING, networks={}, network_mode="own")
    (replica,) = status(members).replicas
    assert replica.assessment is not None
    assert replica.assessment.verdict is Verdict.UNHEALTHY
    assert "on no network: own is gone" in replica.assessment.reason


def test_verdict_of_the_monitor() -> None:
    """A running replica has the monitor's verdict, with reason and since when."""
    bad = Assessment(Verdict.UNHEALTHY, "/ answered 500", NOW)
    made = app_status(SHOP, ONE, found(ContainerState.RUNNING), {}, lambda _: bad, None)
    assert made is not None
    assert made.replicas[0].assessment == bad


def test_without_desired_state() -> None:
    """Manual containers have the status of what was started last."""
    assert status(found(ContainerState.RUNNING), active=None).deployment == ONE
    assert status(found(ContainerState.EXITED), active=None).deployment == ONE
    assert app_status(SHOP, None, (), {}, lambda _: None, None) is None


def test_nothing_runs_of_what_should() -> None:
    """An app whose containers are all gone is unknown, and says what is under way."""
    said = status((), active=TWO, deploying=DeploymentState.PULLING)
    assert (said.state, said.deployment, said.domains) == ("unknown", TWO, ())
    assert said.deploying is DeploymentState.PULLING
