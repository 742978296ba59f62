"""Answers of the API as JSON objects. Pure.

Exact names and casing of C{spec/api.md} section 3 and 4; keys of ours are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

from haloy.deploy.interface import (
    AppStatus,
    DeploymentDetail,
    DeploymentRecord,
    LogEntry,
    ReplicaStatus,
    RollbackTarget,
)
from haloy.model.app import Domain
from haloy.model.event import Event
from haloy.model.token import AuditEntry


def log_entry(entry: LogEntry) -> dict[str, Any]:
    """Return a line of a deployment's log (C{spec/api.md} 3.5)."""
    found: dict[str, Any] = {
        "level": entry.level,
        "message": entry.message,
        "timestamp": _time(entry.at),
    }
    if entry.deployment:
        found["deploymentID"] = entry.deployment
    if entry.app:
        found["appName"] = entry.app
    if entry.domains:
        found["domains"] = list(entry.domains)
    if entry.fields:
        found["fields"] = dict(entry.fields)
    if entry.complete:
        found["isDeploymentComplete"] = True
        found["isDeploymentFailed" if entry.failed else "isDeploymentSuccess"] = True
    return found


def app_status(status: AppStatus) -> dict[str, Any]:
    """Return an app's status: the old keys (4.18), and C{replicas} of ours."""
    found: dict[str, Any] = {
        "state": status.state,
        "deploymentId": status.deployment,
        "containerIds": [
            one.container_id for one in status.replicas if not one.draining
        ],
        "domains": [_domain(one) for one in status.domains],
        "appName": status.app,
        "replicas": [_replica(one) for one in status.replicas],
    }
    if status.deploying is not None:
        found["deploying"] = status.deploying.value
    return found


def _replica(one: ReplicaStatus) -> dict[str, Any]:
    found: dict[str, Any] = {
        "containerId": one.container_id,
        "name": one.name,
        "number": one.number,
        "deploymentId": one.deployment,
        "state": one.state,
        "image": one.image,
        "restarts": one.restarts,
        "draining": one.draining,
    }
    if one.draining:
        found["drainingRequests"] = one.draining_requests
        found["drainingTunnels"] = one.draining_tunnels
    if one.started_at is not None:
        found["startedAt"] = _time(one.started_at)
    if one.assessment is not None:
        found["health"] = {
            "verdict": one.assessment.verdict.value,
            "reason": one.assessment.reason,
            "since": _time(one.assessment.since),
        }
    return found


def rollback_targets(targets: tuple[RollbackTarget, ...]) -> dict[str, Any]:
    """Return the list of C{GET /v1/rollback/{app}}: PascalCase, C{null} when empty."""
    return {
        "targets": [
            {
                "DeploymentID": one.id,
                "ImageID": "",
                "ImageRef": one.image_ref,
                "RawDeployConfig": _for_old_clients(one.config),
            }
            for one in targets
        ]
        or None
    }


def _for_old_clients(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration in words that the Go client knows."""
    found = dict(config)
    if found.get("deploymentStrategy") == "blue_green":
        found["deploymentStrategy"] = "rolling"
    return found


def audit_row(row: AuditEntry) -> dict[str, Any]:
    """Return one action of the trail."""
    return {
        "seq": row.seq,
        "at": _time(row.at),
        "token": row.token,
        "address": row.address,
        "action": row.action,
        "subject": row.subject,
        "result": row.result,
    }


def deployment(one: DeploymentRecord) -> dict[str, Any]:
    """Return a deployment as it is remembered."""
    found: dict[str, Any] = {
        "seq": one.seq,
        "appName": one.app,
        "deploymentId": one.id,
        "state": one.state.value,
        "image": one.image_ref,
        "askedBy": one.asked_by,
        "createdAt": _time(one.created_at),
    }
    if one.finished_at is not None:
        found["finishedAt"] = _time(one.finished_at)
    if one.rolled_back_from is not None:
        found["rolledBackFrom"] = one.rolled_back_from
    if one.failure:
        found["failure"] = one.failure
        found["reason"] = one.reason
    return found


def deployment_detail(one: DeploymentDetail) -> dict[str, Any]:
    """Return a deployment with its changes; C{null}: they are not known."""
    return {
        **deployment(one.record),
        "comparedWith": one.compared_with,
        "config": dict(one.config),
        "changes": None
        if one.changes is None
        else [
            {"key": change.key, "before": change.before, "after": change.after}
            for change in one.changes
        ],
    }


def event(one: Event) -> dict[str, Any]:
    """Return something that happened; it has the keys that say something."""
    found: dict[str, Any] = {"kind": one.kind, "at": _time(one.at)}
    if one.seq:
        found["seq"] = one.seq
    pairs = (
        ("appName", one.app),
        ("subject", one.subject),
        ("state", one.state),
        ("reason", one.reason),
    )
    return found | {key: value for key, value in pairs if value}


def _domain(domain: Domain) -> dict[str, Any]:
    found: dict[str, Any] = {"domain": domain.canonical}
    if domain.aliases:
        found["aliases"] = list(domain.aliases)
    return found


def _time(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@frozen
class Readiness:
    """What C{/health/ready} tells: each part's trouble, C{""} when it works."""

    docker: str
    proxy: str
    database: str
    config: str

    @property
    def ready(self) -> bool:
        """Whether everything works."""
        return not (self.docker or self.proxy or self.database or self.config)
