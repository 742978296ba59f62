"""Containers -> apps; whose they are; what is wrong with the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve

from haloy.deploy.discovery import (
    by_app,
    describe,
    discover,
    newest_started,
    port_problem,
)
from haloy.engine.interface import Attachment, Container, ContainerState
from haloy.model.app import Address
from haloy.model.names import AppName, DeploymentId

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SHOP, ONE = AppName("shop"), DeploymentId("01one")


def container(name: str = "shop-01one", **labels: str) -> Container:
    """Return a running container; C{appName=…} and so on are its labels."""
    said = {"appName": "shop", "deployment_id": "01one", "domain.0": "a.example"}
    said |= labels
    return Container(
        id=f"id-{name}",
        name=name,
        image="shop:01one",
        image_id="sha256:1",
        labels={
            f"dev.haloy.{key.replace('_', '-')}": value for key, value in said.items()
        },
        state=ContainerState.RUNNING,
        started_at=NOW,
        networks={"haloy": Attachment("172.18.0.2")},
    )


def one(found: Container, known: Any = (), instance: str = "") -> Any:
    (only,), unusable = discover([found], known, instance)
    assert unusable == ()
    return only


def test_replica() -> None:
    """A container is a replica with its address and number."""
    replica = one(container(replica="2", port="3000")).replica
    assert (replica.number, replica.address) == (2, Address("172.18.0.2", 3000))
    assert (replica.app, replica.deployment, replica.running) == (SHOP, ONE, True)


@pytest.mark.parametrize(("name", "number"), [("shop-01one-r3", 3), ("shop-01one", 1)])
def test_number_of_a_go_container(name: str, number: int) -> None:
    """Without a label the number is in the name."""
    assert one(container(name)).replica.number == number


def test_ours_by_label() -> None:
    """Our mark says that we made it; without it nobody may touch it (D29)."""
    assert one(container(managed_by="haloyd")).ours
    assert not one(container()).ours
    assert not one(container(managed_by="somebody")).ours


@pytest.mark.parametrize("name", ["shop", "shop-01one", "shop-01one-r2"])
def test_ours_by_history(name: str) -> None:
    """What a Go daemon's history and naming say is its container is ours."""
    assert one(container(name), {("shop", "01one")}).ours


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("by-hand", {("shop", "01one")}),
        ("shop-01one", {("shop", "01two")}),
        ("shop-01one", {("blog", "01one")}),
        ("shop-01one-r2x", {("shop", "01one")}),
    ],
)
def test_not_ours_by_history(name: str, known: set[tuple[str, str]]) -> None:
    """Another name, another deployment or another app is not."""
    assert not one(container(name), known).ours


def test_another_haloyd() -> None:
    """Containers of another haloyd on the same Docker are not seen at all."""
    made = container(managed_by="haloyd", instance="other")
    assert discover([made], (), "mine") == ((), ())
    assert one(evolve(made), (), "other").ours
    assert one(container(managed_by="haloyd"), (), "mine").ours


def test_not_an_app() -> None:
    """A container without an app's label is left out silently."""
    plain = evolve(container(), labels={})
    assert discover([plain], ()) == ((), ())


def test_bad_labels() -> None:
    """One with bad labels is told, and costs only itself (A16)."""
    found, unusable = discover([container(port="x"), container("ok")], ())
    assert [one.container.name for one in found] == ["ok"]
    assert [(one.name, one.app) for one in unusable] == [("shop-01one", "shop")]
    assert "port" in unusable[0].reason


def test_by_app() -> None:
    """Containers are grouped by app, in the order of their numbers."""
    made = [container("b", replica="2"), container("c", appName="blog")]
    made.append(container("a", replica="1"))
    found, _ = discover(made, ())
    groups = by_app(found)
    names = {app: [one.container.name for one in groups[app]] for app in groups}
    assert names == {"shop": ["a", "b"], "blog": ["c"]}


def test_describe() -> None:
    """An app is as the chosen deployment says, with its replicas only."""
    made = [container("a"), container("b", deployment_id="01two", port="90")]
    found, _ = discover(made, ())
    app = describe(found, DeploymentId("01two"))
    assert app is not None
    assert (app.port, [one.name for one in app.replicas]) == (90, ["b"])
    assert describe(found, DeploymentId("01three")) is None


def test_newest_started() -> None:
    """The start decides among ids that have no order (D18); what is down is out."""
    early = evolve(container("a", deployment_id="z"), started_at=NOW)
    late = evolve(
        container("b", deployment_id="a"), started_at=NOW + timedelta(seconds=1)
    )
    down = evolve(
        container("c", deployment_id="b"),
        started_at=NOW + timedelta(days=1),
        state=ContainerState.EXITED,
    )
    never = evolve(container("d", deployment_id="d"), started_at=None)
    found, _ = discover([early, late, down, never], ())
    assert newest_started(found) == "a"
    assert newest_started(found[2:3]) is None


def test_aside() -> None:
    """The name of an old container while a successor has its own."""
    assert one(container("shop")).aside == "shop-01one-old"


@pytest.mark.parametrize(
    ("exposed", "problem"),
    [((), ""), ((8080, 9090), ""), ((3000,), "the image exposes 3000")],
)
def test_port_problem(exposed: tuple[int, ...], problem: str) -> None:
    """An image that exposes ports must expose the one that is asked for."""
    said = port_problem(evolve(container(), exposed_ports=exposed), 8080)
    assert said.startswith(problem)
    assert bool(said) == bool(problem)
