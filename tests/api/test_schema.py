"""Answers of the API as JSON objects: what is not known is left out, not null."""

from __future__ import annotations

from datetime import UTC, datetime

from haloy.api.schema import app_status, log_entry, rollback_targets
from haloy.deploy.interface import (
    AppStatus,
    DeploymentState,
    LogEntry,
    ReplicaStatus,
    RollbackTarget,
)
from haloy.model.app import Assessment, Domain, Verdict
from haloy.model.names import AppName, DeploymentId, DomainName

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ID = DeploymentId("01aaaaaaaaaaaaaaaaaaaaaaaa")


def test_a_line_of_the_log() -> None:
    """Only what it has; the end marker says how it ended."""
    assert log_entry(LogEntry("INFO", "hello", NOW)) == {
        "level": "INFO",
        "message": "hello",
        "timestamp": "2026-11-24T12:00:00Z",
    }
    full = LogEntry(
        "ERROR", "no", NOW, "shop", ID, ("a.example",), {"code": "oom"}, True, True
    )
    assert log_entry(full) == {
        "level": "ERROR",
        "message": "no",
        "timestamp": "2026-11-24T12:00:00Z",
        "deploymentID": ID,
        "appName": "shop",
        "domains": ["a.example"],
        "fields": {"code": "oom"},
        "isDeploymentComplete": True,
        "isDeploymentFailed": True,
    }


def test_status() -> None:
    """Draining containers are no C{containerIds}; a running deployment is told."""
    serving = ReplicaStatus(
        "c1", "shop-r1", 1, ID, "running",
        Assessment(Verdict.HEALTHY, "/ answered 200", NOW), "shop:1", 2, NOW,
    )  # fmt: skip
    leaving = ReplicaStatus(
        "c0", "old-r1", 1, ID, "running", None, "shop:0", 0, None, True
    )
    domains = (
        Domain(DomainName("shop.example"), (DomainName("www.shop.example"),)),
        Domain(DomainName("other.example")),
    )
    app = AppName("shop")
    found = app_status(AppStatus(app, "running", ID, domains, (serving, leaving)))
    assert found["containerIds"] == ["c1"]
    assert found["domains"] == [
        {"domain": "shop.example", "aliases": ["www.shop.example"]},
        {"domain": "other.example"},
    ]
    one, other = found["replicas"]
    assert one["health"] == {
        "verdict": "healthy",
        "reason": "/ answered 200",
        "since": "2026-11-24T12:00:00Z",
    }
    assert (one["startedAt"], one["restarts"]) == ("2026-11-24T12:00:00Z", 2)
    assert (other["draining"], other.keys() & {"health", "startedAt"}) == (True, set())
    assert "deploying" not in found
    status = AppStatus(app, "running", ID, (), (), DeploymentState.CHECKING)
    assert app_status(status)["deploying"] == "checking"


def test_rollback_targets() -> None:
    """C{blue_green} is told as C{rolling}, which is all that older clients know."""
    assert rollback_targets(()) == {"targets": None}
    stored = ({"deploymentStrategy": "blue_green"}, {"deploymentStrategy": "replace"})
    targets = tuple(RollbackTarget(ID, "shop:1", one) for one in stored)
    shown = [one["RawDeployConfig"] for one in rollback_targets(targets)["targets"]]
    assert [one["deploymentStrategy"] for one in shown] == ["rolling", "replace"]
    assert stored[0]["deploymentStrategy"] == "blue_green"
