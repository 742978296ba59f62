"""Past deployments, and what they changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from attrs import evolve

from haloy.deploy.history import changes_of, record_of
from haloy.deploy.interface import DeploymentState
from haloy.model.names import AppName, DeploymentId
from haloy.store.deployments import DeploymentRow

NOW = datetime(2026, 11, 24, tzinfo=UTC)
STORED: dict[str, Any] = {
    "name": "shop",
    "server": "s.example.com",
    "replicas": 1,
    "env": [{"name": "DB", "value": "secret"}],
    "secretProviders": {"onepassword": {}},
}
ROW = DeploymentRow(
    2,
    AppName("shop"),
    DeploymentId("01two"),
    "failed",
    {},
    STORED,
    "f",
    "shop:01two",
    "sha256:1",
    "ci",
    DeploymentId("01one"),
    "exited",
    "it exited",
    NOW,
    NOW,
)


def test_record() -> None:
    """Everything but the configuration."""
    found = record_of(ROW)
    assert found.state is DeploymentState.FAILED
    assert (found.seq, found.id, found.image_ref) == (2, "01two", "shop:01two")
    assert (found.failure, found.reason) == ("exited", "it exited")
    assert (found.asked_by, found.rolled_back_from) == ("ci", "01one")
    assert (found.created_at, found.finished_at) == (NOW, NOW)


def test_changes_show_no_secret() -> None:
    """By name, key by key; a literal value is hidden."""
    env = [{"name": "DB", "value": "other"}]
    after = evolve(ROW, stored={**STORED, "replicas": 2, "env": env})
    changes = changes_of(ROW, after)
    assert changes is not None
    assert {str(one) for one in changes} == {
        "~ replicas: 1 -> 2",
        "~ env[DB].value: changed",
    }


def test_first_deployment_is_all_new() -> None:
    """There is nothing to compare with."""
    changes = changes_of(None, ROW)
    assert changes is not None
    assert all(one.before is None for one in changes)


def test_configurations_that_cannot_be_read() -> None:
    """Missing, or of another version: not known, which is not "nothing"."""
    assert changes_of(None, evolve(ROW, stored={})) is None
    assert changes_of(evolve(ROW, stored={"future": 1}), ROW) is None
