"""The answers of the API as classes, for its description. Pure.

C{api.schema} makes them; that they are what is described here is tested by asking for
every one of them. A field with a default is left out of an answer that has nothing to
say there; C{| None} may be C{null}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

_LEFT_OUT: Any = ""


@frozen
class Health:
    """C{GET /health}."""

    status: str
    service: str
    version: str = _LEFT_OUT


@frozen
class Ready:
    """C{GET /health/ready}; each part is C{ok} or its trouble."""

    ready: bool
    docker: str
    proxy: str
    database: str
    config: str


@frozen
class Workers:
    """Processes that serve with the same code; who drains accepts no connections."""

    version: str
    form: str
    count: int
    draining: bool


@frozen
class Version:
    """C{GET /v1/version}; generations and schemas are for clients of the Go daemon.

    A form is C{compiled} or C{interpreted}. Of a proxy that cannot be reached there
    is C{haloy_proxy_trouble} and what is required of it.
    """

    haloyd: str
    haloyd_form: str
    haloy_proxy_required_generation: int
    haloy_proxy_required_schema_version: int
    capabilities: tuple[str, ...]
    haloy_proxy: str = _LEFT_OUT
    haloy_proxy_form: str = _LEFT_OUT
    haloy_proxy_generation: int = _LEFT_OUT
    haloy_proxy_schema_version: int = _LEFT_OUT
    haloy_proxy_compatible: bool = _LEFT_OUT
    haloy_proxy_config_hash: str = _LEFT_OUT
    haloy_proxy_workers: tuple[Workers, ...] = _LEFT_OUT
    haloy_proxy_trouble: str = _LEFT_OUT


@frozen
class Domain:
    """A name and the names that lead to it."""

    domain: str
    aliases: tuple[str, ...] = _LEFT_OUT


@frozen
class ReplicaHealth:
    """What is thought of a replica."""

    verdict: str
    reason: str
    since: str


@frozen
class Replica:
    """One container of an app."""

    container_id: str
    name: str
    number: int
    deployment_id: str
    state: str
    image: str
    restarts: int
    draining: bool
    draining_requests: int = _LEFT_OUT
    draining_tunnels: int = _LEFT_OUT
    started_at: str = _LEFT_OUT
    health: ReplicaHealth = _LEFT_OUT


@frozen
class Certificate:
    """How it stands with the certificate of a name."""

    name: str
    state: str
    aliases: tuple[str, ...] = _LEFT_OUT
    names: tuple[str, ...] = _LEFT_OUT
    not_before: str = _LEFT_OUT
    not_after: str = _LEFT_OUT
    issuer: str = _LEFT_OUT
    fingerprint: str = _LEFT_OUT
    directory: str = _LEFT_OUT
    reason: str = _LEFT_OUT
    problem: str = _LEFT_OUT
    document: str = _LEFT_OUT
    failures: int = _LEFT_OUT
    ordering: bool = _LEFT_OUT
    next_try: str = _LEFT_OUT


@frozen
class AppStatus:
    """How an app is."""

    state: str
    deployment_id: str
    container_ids: tuple[str, ...]
    domains: tuple[Domain, ...]
    app_name: str
    replicas: tuple[Replica, ...]
    deploying: str = _LEFT_OUT
    certificates: tuple[Certificate, ...] = _LEFT_OUT


@frozen
class Apps:
    """C{GET /v1/apps}."""

    apps: tuple[AppStatus, ...]


@frozen
class Deployment:
    """A deployment as it is remembered."""

    seq: int
    app_name: str
    deployment_id: str
    state: str
    image: str
    asked_by: str
    created_at: str
    finished_at: str = _LEFT_OUT
    rolled_back_from: str = _LEFT_OUT
    failure: str = _LEFT_OUT
    reason: str = _LEFT_OUT


@frozen
class Deployments:
    """C{GET /v1/deployments}."""

    deployments: tuple[Deployment, ...]


@frozen
class Change:
    """One key that is different; C{null} is "not there"."""

    key: str
    before: str | None
    after: str | None


@frozen(kw_only=True)
class DeploymentDetail(Deployment):
    """One deployment and what it changed; C{null}: that is not known."""

    config: Mapping[str, Any]
    compared_with: str | None
    changes: tuple[Change, ...] | None


@frozen
class RollbackTarget:
    """A deployment that can be gone back to."""

    deployment_id: str = field(metadata={"key": "DeploymentID"})
    image_id: str = field(metadata={"key": "ImageID"})
    image_ref: str = field(metadata={"key": "ImageRef"})
    raw_deploy_config: Mapping[str, Any] | None = field(
        metadata={"key": "RawDeployConfig"}
    )


@frozen
class RollbackTargets:
    """C{GET /v1/rollback/{app}}; C{null} when there is none."""

    targets: tuple[RollbackTarget, ...] | None


@frozen
class ExecResult:
    """What a command gave in one container."""

    container_id: str
    exit_code: int
    stdout: str
    stderr: str
    error: str = _LEFT_OUT


@frozen
class ExecResults:
    """C{POST /v1/exec/{app}}."""

    results: tuple[ExecResult, ...]


@frozen
class LayersFound:
    """C{POST /v1/images/layers/check}; C{null} when there is none."""

    missing: tuple[str, ...] | None
    exists: tuple[str, ...] | None


@frozen
class LayerKept:
    """C{POST /v1/images/layers}."""

    digest: str
    size: int


@frozen
class Loaded:
    """An image is on the server."""

    success: bool
    message: str


@frozen
class Room:
    """C{POST /v1/images/disk-space-check}."""

    ok: bool
    path: str
    required_bytes: int
    available_bytes: int


@frozen
class PrunedTag:
    """A name of an image that is removed, or would be."""

    tag: str
    deployment_id: str


@frozen
class Pruned:
    """C{POST /v1/images/prune}."""

    app_name: str
    keep: int
    applied: bool
    tags: tuple[PrunedTag, ...]
    running_deployment_ids: tuple[str, ...] = _LEFT_OUT


@frozen
class RegistryLogin:
    """A login that the server keeps."""

    server: str
    username: str


@frozen
class RegistryLogins:
    """C{GET /v1/registries}."""

    registries: tuple[RegistryLogin, ...]


@frozen
class Token:
    """A token, never its value."""

    name: str
    scopes: tuple[str, ...]
    apps: tuple[str, ...]
    created_at: str
    expires_at: str | None
    last_used_at: str | None
    revoked_at: str | None


@frozen
class Tokens:
    """C{GET /v1/tokens}."""

    tokens: tuple[Token, ...]


@frozen
class NewToken:
    """C{POST /v1/tokens}: the only time that a token's value is shown."""

    name: str
    token: str


@frozen
class Action:
    """Something that was done."""

    seq: int
    at: str
    token: str
    address: str
    action: str
    subject: str
    result: str


@frozen
class Actions:
    """C{GET /v1/audit}."""

    actions: tuple[Action, ...]


@frozen
class Certificates:
    """C{GET /v1/certificates}."""

    certificates: tuple[Certificate, ...]


@frozen
class LogLine:
    """One event of a deployment's log or the server's."""

    level: str
    message: str
    timestamp: str
    deployment_id: str = field(default=_LEFT_OUT, metadata={"key": "deploymentID"})
    app_name: str = _LEFT_OUT
    domains: tuple[str, ...] = _LEFT_OUT
    fields: Mapping[str, Any] = _LEFT_OUT
    is_deployment_complete: bool = _LEFT_OUT
    is_deployment_failed: bool = _LEFT_OUT
    is_deployment_success: bool = _LEFT_OUT


@frozen
class ContainerLine:
    """One event of C{GET /v1/logs/{app}}."""

    container_id: str
    line: str


@frozen
class Event:
    """One event of C{GET /v1/events}."""

    kind: str
    at: str
    seq: int = _LEFT_OUT
    app_name: str = _LEFT_OUT
    subject: str = _LEFT_OUT
    state: str = _LEFT_OUT
    reason: str = _LEFT_OUT
