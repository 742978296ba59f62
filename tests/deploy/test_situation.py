"""What of an app is a reason to mend it, and what of an unknown one is taken over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from haloy.deploy.discovery import Found
from haloy.deploy.situation import Situation, adoptable, needs_repair
from haloy.engine.interface import Attachment, Container, ContainerState
from haloy.model.labels import AppLabels
from haloy.model.names import AppName, DeploymentId
from haloy.store.apps import AppRow
from haloy.store.deployments import DeploymentRow

SHOP = AppName("shop")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def member(deployment: str = "01one", number: int = 1, **said: Any) -> Found:
    """Return a running container of ours; C{said}: what differs in it."""
    name = f"shop-{deployment}-r{number}"
    container = Container(
        id=f"id-{name}",
        name=name,
        image=f"shop:{deployment}",
        image_id="sha256:1",
        labels={},
        state=ContainerState.RUNNING,
        started_at=NOW,
        networks={"haloy": Attachment("172.18.0.2")},
    )
    labels = AppLabels(SHOP, DeploymentId(deployment), replica=number, managed=True)
    return Found(evolve(container, **said), labels, ours=True)


def row(deployment: str = "01one", state: str = "live", replicas: int = 2) -> Any:
    return DeploymentRow(
        seq=1,
        app=SHOP,
        id=DeploymentId(deployment),
        state=state,
        target={"name": "shop", "replicas": replicas},
        stored={},
        fingerprint="",
        image_ref="",
        image_id="",
        asked_by="",
        rolled_back_from=None,
        failure="",
        reason="",
        created_at=NOW,
    )


WANTED = AppRow(SHOP, DeploymentId("01one"), stopped=False)
WHOLE = (member(), member(number=2))


@pytest.mark.parametrize(
    ("members", "wanted", "active", "needed"),
    [
        (WHOLE, WANTED, row(), False),
        (WHOLE[:1], WANTED, row(), True),
        ((), WANTED, row(), True),
        ((*WHOLE, member("00old")), WANTED, row(), True),
        ((*WHOLE, evolve(member("00old"), ours=False)), WANTED, row(), False),
        ((*WHOLE, member("00drains")), WANTED, row(), False),
        (
            (WHOLE[0], member(number=2, networks={}, network_mode="haloy")),
            WANTED,
            row(),
            True,
        ),
        (
            (WHOLE[0], member(number=2, state=ContainerState.EXITED)),
            WANTED,
            row(),
            True,
        ),
        ((WHOLE[0], member(number=9)), WANTED, row(), True),
        (WHOLE, WANTED, row(state="draining"), True),
        (WHOLE, evolve(WANTED, stopped=True), row(), False),
        ((), evolve(WANTED, stopped=True), row(), False),
        ((member("00old"),), WANTED, None, True),
        ((), None, None, False),
        (WHOLE, None, None, True),
    ],
)
def test_reasons(
    members: tuple[Found, ...],
    wanted: AppRow | None,
    active: DeploymentRow | None,
    needed: bool,
) -> None:
    """Too few, of another deployment, down, cut off, hanging: each is one."""
    draining = {"id-shop-00drains-r1"}
    found = needs_repair(
        members, wanted, active, draining, lambda one: one.labels.replica == 9
    )
    assert found is needed


@pytest.mark.parametrize(
    ("members", "history", "chosen"),
    [
        ((), (), None),
        ((member(),), (), ("01one", "shop:01one")),
        ((evolve(member(), ours=False),), (), None),
        ((member(state=ContainerState.EXITED),), (row(),), None),
        ((member(),), (row(state="failed"),), None),
        (
            (member("02two", started_at=NOW.replace(hour=1)), member()),
            (),
            ("02two", "shop:02two"),
        ),
        (
            (member("02two", started_at=NOW.replace(hour=1)), member()),
            (row(),),
            ("01one", "shop:01one"),
        ),
    ],
)
def test_what_is_taken_over(
    members: tuple[Found, ...],
    history: tuple[DeploymentRow, ...],
    chosen: tuple[str, str] | None,
) -> None:
    """The newest of our rows that runs; without rows what was started last."""
    assert adoptable(Situation(members, None, history)) == chosen
