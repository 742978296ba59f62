"""Deployments as the API sees them, in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from attrs import define, field
from twisted.internet.defer import Deferred

from haloy.config.app_file import Target
from haloy.deploy.interface import (
    AppStatus,
    DeploymentDetail,
    DeploymentRecord,
    DeploymentState,
    DeployRequest,
    LogEntry,
    RollbackTarget,
)
from haloy.errors import Conflict, NotFound
from haloy.model.names import AppName, DeploymentId

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)


@define(eq=False)
class FakeDeployments:
    """Takes requests, and tells what the test has put in."""

    taken: list[DeployRequest] = field(factory=list)
    stopped: list[tuple[str, bool, bool]] = field(factory=list)
    logs: dict[str, list[LogEntry]] = field(factory=dict)
    known: dict[str, AppStatus] = field(factory=dict)
    kept: dict[str, tuple[RollbackTarget, ...]] = field(factory=dict)
    followed: list[tuple[str, int]] = field(factory=list)
    past: list[DeploymentDetail] = field(factory=list)
    cancelled: list[tuple[str, str, str]] = field(factory=list)
    refuse: Exception | None = None
    open_ended: Deferred[None] | None = None

    async def submit(self, request: DeployRequest) -> None:
        if self.refuse is not None:
            raise self.refuse
        for one in self.taken:
            if one.id == request.id and one.target != request.target:
                raise Conflict(f"deployment {request.id} exists with another content")
        self.taken.append(request)

    async def rollback_request(
        self, target: DeploymentId, new: DeploymentId, config: Target, asked_by: str
    ) -> DeployRequest:
        if target not in {one.id for kept in self.kept.values() for one in kept}:
            raise NotFound(f"no deployment {target}")
        return DeployRequest(new, config, {}, asked_by, target)

    async def follow(
        self,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        self.followed.append((deployment, after))
        for entry in self.logs.get(deployment, ()):
            if entry.seq > after:
                await consume(entry)
                if entry.complete:
                    return
        if self.open_ended is not None:
            await self.open_ended

    async def status(self, app: AppName) -> AppStatus:
        if app not in self.known:
            raise NotFound(f"app {app} is not deployed on this server")
        return self.known[app]

    async def apps(self) -> tuple[AppStatus, ...]:
        return tuple(self.known.values())

    async def rollback_targets(self, app: AppName) -> tuple[RollbackTarget, ...]:
        return self.kept.get(app, ())

    async def stop_app(self, app: AppName, remove: bool, remove_volumes: bool) -> None:
        if app not in self.known:
            raise NotFound(f"app {app} is not deployed on this server")
        self.stopped.append((app, remove, remove_volumes))

    async def history(
        self, app: AppName | None, limit: int, before: int = 0
    ) -> tuple[DeploymentRecord, ...]:
        found = [
            one.record
            for one in self.past
            if app in (None, one.record.app)
            and (before == 0 or one.record.seq < before)
        ]
        return tuple(found[:limit])

    async def deployment(self, app: AppName, identifier: str) -> DeploymentDetail:
        for one in self.past:
            if (one.record.app, one.record.id) == (app, identifier):
                return one
        raise NotFound(f"app {app} has no deployment {identifier}")

    async def cancel(self, app: AppName, identifier: str, asked_by: str) -> None:
        found = await self.deployment(app, identifier)
        if found.record.state is not DeploymentState.QUEUED:
            raise Conflict(f"deployment {identifier} of {app} is no longer waiting")
        self.cancelled.append((app, identifier, asked_by))
