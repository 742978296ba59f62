"""What the commands print with C{--json}, as classes, for its published schema. Pure.

A field with a default is left out where there is nothing to say; C{| None} may be
C{null}. What a server says is in C{haloy.api.shapes}. Keys are added, never renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from haloy.api.shapes import (
    AppStatus,
    Change,
    Deployment,
    ExecResult,
    LogLine,
    Pruned,
    RegistryLogin,
    Version,
)

_LEFT_OUT: Any = ""


# --- what went wrong ---------------------------------------------------------------


@frozen
class ProblemText:
    """What went wrong, and where in the configuration it is."""

    code: str
    message: str
    exit_code: int
    file: str = _LEFT_OUT
    line: int | None = _LEFT_OUT
    column: int | None = _LEFT_OUT


@frozen
class Problem:
    """What any command prints instead when it cannot do its work."""

    error: ProblemText


@frozen
class TargetFailed:
    """One target of several of which there is no answer."""

    target: str
    app: str
    error: str
    code: str
    server: str = _LEFT_OUT


@frozen
class ServerFailed:
    """One server of several that gives no answer."""

    server: str
    error: str
    code: str


# --- apps ----------------------------------------------------------------------------


@frozen
class PlannedTarget:
    """What C{deploy --dry-run} would do; C{running}: the deployment that serves now."""

    target: str
    app: str
    server: str
    image: str
    build: bool
    replicas: int
    strategy: str
    running: str | None
    changes: tuple[Change, ...] | None


@frozen
class DeployedTarget:
    """What became of one target."""

    target: str
    app: str
    server: str
    deployment_id: str
    ok: bool
    error: str | None
    code: str | None


@frozen
class RolledBackTarget:
    """What became of one target's way back."""

    target: str
    app: str
    server: str
    rolled_back_to: str | None
    deployment_id: str | None
    ok: bool
    error: str | None
    code: str | None


@frozen
class StoppedTarget:
    """Whether one target is being stopped."""

    target: str
    app: str
    server: str
    ok: bool
    error: str | None
    code: str | None


@frozen(kw_only=True)
class TargetStatus(AppStatus):
    """How one target is."""

    target: str
    app: str
    server: str


@frozen
class ServerApps:
    """All apps of a server."""

    server: str
    apps: tuple[AppStatus, ...]


@frozen
class TargetDeployments:
    """What was deployed, the newest first."""

    target: str
    app: str
    server: str
    deployments: tuple[Deployment, ...]


@frozen
class Kept:
    """A deployment that can be gone back to."""

    deployment_id: str
    image: str


@frozen
class TargetKept:
    """What a target can be rolled back to, the newest first."""

    target: str
    app: str
    targets: tuple[Kept, ...]


@frozen
class Difference:
    """What changed between two deployments; C{before} is C{null} for the first."""

    app: str
    before: str | None
    after: str
    changes: tuple[Change, ...]


@frozen
class Cancelled:
    """A deployment that was taken back while it waited."""

    app: str
    deployment_id: str
    cancelled: bool


@frozen
class TargetResults:
    """What a command gave in the containers of one target."""

    target: str
    app: str
    server: str
    results: tuple[ExecResult, ...]


@frozen(kw_only=True)
class TargetPruned(Pruned):
    """Which images of one target are removed, or would be."""

    target: str
    app: str
    server: str


@frozen
class AppLine:
    """One line that a container has written."""

    target: str
    app: str
    container_id: str
    line: str


@frozen
class TunnelOpen:
    """A port of this machine leads to a container."""

    target: str
    app: str
    server: str
    local_port: int


# --- the configuration ---------------------------------------------------------------


@frozen
class Written:
    """The file that C{init} has written."""

    file: str
    name: str
    port: int


@frozen
class TargetRow:
    """One target of the configuration."""

    target: str
    app: str
    server: str
    domains: tuple[str, ...]
    replicas: int
    protected: bool


@frozen
class Validated:
    """Whether a configuration is valid; C{targets} with C{--show-resolved-config}."""

    file: str
    ok: bool
    problems: tuple[str, ...]
    targets: Mapping[str, Any] = _LEFT_OUT


@frozen
class DoctorCheck:
    """One thing that was looked at: C{state} is C{ok}, C{warn} or C{fail}."""

    where: str
    check: str
    state: str
    text: str
    next: str | None


@frozen
class Diagnosis:
    """All that was looked at."""

    ok: bool
    checks: tuple[DoctorCheck, ...]


@frozen
class Installed:
    """The version of the command; C{latest} with C{--check}."""

    version: str
    latest: str | None = _LEFT_OUT


# --- servers ------------------------------------------------------------------------


@frozen
class ServerAdded:
    """A server that is known now, and the variable with its token."""

    server: str
    token_env: str


@frozen
class ServerDeleted:
    """A server that is known no more."""

    server: str


@frozen
class KnownServer:
    """A server that is known, and whether there is a token for it."""

    server: str
    token_env: str
    has_token: bool


@frozen(kw_only=True)
class ServerVersion(Version):
    """The version of one server and what it can."""

    server: str


@frozen(kw_only=True)
class ServerLine(LogLine):
    """One line of a server's log."""

    server: str


@frozen
class LoggedIn:
    """A registry's login that the server keeps now."""

    registry: str
    username: str


@frozen
class LoggedOut:
    """A registry's login that the server has forgotten."""

    registry: str


@frozen
class ServerLogins:
    """The logins that one server keeps."""

    server: str
    registries: tuple[RegistryLogin, ...]


@frozen
class Revoked:
    """A token that is valid no more."""

    name: str
    revoked: bool
