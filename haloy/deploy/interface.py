"""What deploying asks of others, and what others may ask of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Protocol

from attrs import field, frozen

from haloy.config.app_file import Target
from haloy.config.diff import Change
from haloy.model.app import App, Assessment, Domain, HealthCheck, Replica
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import DrainLimits, Leftover

# --- what deploying needs ---------------------------------------------------


class Traffic(Protocol):
    """Who gets requests. Implemented by C{daemon.routing}."""

    async def claim(self, app: AppName, domains: tuple[Domain, ...]) -> None:
        """Make sure C{app} may have C{domains}.

        @raise Conflict: another app (named in the text) or the API has one of them.
        """

    async def admit(
        self,
        app: App,
        replicas: tuple[Replica, ...],
        instead_of: tuple[Replica, ...] = (),
    ) -> None:
        """Send requests of C{app} to C{replicas} too; return when every worker does.

        Domains and options are those of C{app}. In the same table C{instead_of}
        gets nothing new any more: no request sees both versions or none.
        """

    async def retire(self, replicas: tuple[Replica, ...]) -> None:
        """Send them nothing new; return when every worker has stopped."""

    async def drained(
        self, replicas: tuple[Replica, ...], limits: DrainLimits
    ) -> Leftover:
        """Wait until nothing of C{replicas} runs or the limits have passed."""

    async def park(self, app: AppName, limit_s: float) -> None:
        """Hold new requests of C{app} while nobody serves it."""

    async def unpark(self, app: AppName) -> None:
        """Send held requests on."""

    async def forget(self, app: AppName) -> None:
        """Give up the routes and domains of an app that was stopped on purpose."""


class Names(Protocol):
    """What a person should hear of an app's names. Implemented by C{certs.advice}."""

    async def look_ahead(self, domains: tuple[Domain, ...]) -> tuple[str, ...]:
        """Return why certificates for C{domains} may not come."""

    def missing(self, domains: tuple[Domain, ...]) -> tuple[tuple[str, str], ...]:
        """Return level and text for each of C{domains} without a certificate."""


class Readiness(Protocol):
    """Is a new replica fit to serve? Implemented by C{health}."""

    async def until_healthy(
        self,
        container_id: str,
        check: HealthCheck,
        port: int,
        network: str,
        timeout_s: float,
    ) -> None:
        """Return when the container is healthy and has been for C{min_ready_s}.

        @raise DeployFailed: it is not, within C{timeout_s}; C{failure} and the
            reason say why (exited, oom, port mismatch, status, time-out).
        """


# --- what others ask of deploying -------------------------------------------


class DeploymentState(Enum):
    """Where a deployment is; from C{DRAINING} on its end is known.

    C{DRAINING} serves already, while its predecessor finishes what it has.
    C{RETIRED} has served and was replaced.
    """

    QUEUED = "queued"
    PULLING = "pulling"
    STARTING = "starting"
    CHECKING = "checking"
    DRAINING = "draining"
    LIVE = "live"
    FAILED = "failed"
    SUPERSEDED = "superseded"
    INTERRUPTED = "interrupted"
    RETIRED = "retired"


@frozen
class DeployRequest:
    """One deploy or rollback as asked for.

    C{target} is validated and has no unresolved sources; C{stored} is the JSON
    object kept for rollbacks, verbatim.
    """

    id: DeploymentId
    target: Target
    stored: Mapping[str, Any]
    asked_by: str = ""
    rolled_back_from: DeploymentId | None = None


@frozen
class LogEntry:
    """One line of a deployment's log; C{at} is aware.

    The end marker has C{complete}; then C{failed} or not says how it ended.
    """

    level: str
    message: str
    at: datetime
    app: str = ""
    deployment: str = ""
    domains: tuple[str, ...] = ()
    fields: Mapping[str, str] = field(factory=dict)
    complete: bool = False
    failed: bool = False
    seq: int = 0


@frozen
class ReplicaStatus:
    """One replica for C{status}."""

    container_id: str
    name: str
    number: int
    deployment: DeploymentId
    state: str
    assessment: Assessment | None
    image: str
    restarts: int
    started_at: datetime | None
    draining: bool = False
    draining_requests: int = 0
    draining_tunnels: int = 0


@frozen
class AppStatus:
    """An app for C{status}; C{state} as C{spec/api.md} 4.18 ranks Docker's words."""

    app: AppName
    state: str
    deployment: DeploymentId
    domains: tuple[Domain, ...]
    replicas: tuple[ReplicaStatus, ...]
    deploying: DeploymentState | None = None


@frozen
class RollbackTarget:
    """A kept deployment that can be rolled back to."""

    id: DeploymentId
    image_ref: str
    config: Mapping[str, Any]


@frozen
class DeploymentRecord:
    """One deployment as it is remembered; C{seq} orders them."""

    seq: int
    app: AppName
    id: DeploymentId
    state: DeploymentState
    image_ref: str
    asked_by: str
    rolled_back_from: DeploymentId | None
    failure: str
    reason: str
    created_at: datetime
    finished_at: datetime | None


@frozen
class DeploymentDetail:
    """One deployment, and what it changed of the version that served before it.

    @ivar compared_with: that version, C{None}: there was none, or its configuration
        is not known.
    @ivar changes: C{None}: a configuration cannot be read any more.
    @ivar config: its target as it was stored, references instead of secrets.
    """

    record: DeploymentRecord
    compared_with: DeploymentId | None
    changes: tuple[Change, ...] | None
    config: Mapping[str, Any] = field(factory=dict)


class Deployments(Protocol):
    """The API's view of deploying. Implemented by C{deploy.service}."""

    async def submit(self, request: DeployRequest) -> None:
        """Take a request; return when it is durably queued.

        The same (app, id) with an equal body is fine and runs once; another body
        is L{Conflict}. @raise Conflict: also for an app of manual containers.
        """

    async def rollback_request(
        self, target: DeploymentId, new: DeploymentId, config: Target, asked_by: str
    ) -> DeployRequest:
        """Return the request that brings C{target} back under the id C{new}."""

    async def follow(
        self,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        """Give the log of C{deployment} to C{consume}; return after the end marker.

        What was comes first, then what happens. Survives a restart; several may
        follow.
        """

    async def status(self, app: AppName) -> AppStatus:
        """Return how C{app} is. @raise NotFound: no container and no desired state."""

    async def apps(self) -> tuple[AppStatus, ...]:
        """Return all apps."""

    async def rollback_targets(self, app: AppName) -> tuple[RollbackTarget, ...]:
        """Return the kept deployments, newest first, without the live one."""

    async def stop_app(self, app: AppName, remove: bool, remove_volumes: bool) -> None:
        """Stop the app on purpose; return when accepted. @raise NotFound: unknown."""

    async def history(
        self, app: AppName | None, limit: int, before: int = 0
    ) -> tuple[DeploymentRecord, ...]:
        """Return deployments, newest first, of one app or of all.

        @param before: only those with a smaller C{seq}; 0: from the newest on.
        """

    async def deployment(self, app: AppName, identifier: str) -> DeploymentDetail:
        """Return one deployment. @raise NotFound: there is none."""

    async def cancel(self, app: AppName, identifier: str, asked_by: str) -> None:
        """Cancel a deployment that waits for its turn.

        @raise NotFound: there is none.
        @raise Conflict: it has begun, or has ended.
        """
