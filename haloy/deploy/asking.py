"""Answers about apps and deployments; changes nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from attrs import define

from haloy.deploy.aftercare import Aftercare
from haloy.deploy.discovery import Found
from haloy.deploy.history import changes_of, record_of
from haloy.deploy.interface import (
    AppStatus,
    DeploymentDetail,
    DeploymentRecord,
    DeploymentState,
    LogEntry,
    RollbackTarget,
)
from haloy.deploy.progress import Tools
from haloy.deploy.repair import Assess, Repair
from haloy.deploy.rollback import is_in_registry, rollback_entry, target_part
from haloy.deploy.status import app_status
from haloy.errors import HaloyError, NotFound
from haloy.model.names import AppName
from haloy.proxy.interface import DrainLimits, Leftover
from haloy.store import deployments as rows
from haloy.store.apps import AppRow, all_apps, find_app
from haloy.store.deployments import SERVED, UNFINISHED, DeploymentRow

ROLLBACK_LIMIT = 50
ROWS_LIMIT = 1000
UNKNOWN_LIMIT_S = 600.0


@define(eq=False)
class Asking:
    """Reads what is known: logs, status, rollback targets."""

    _tools: Tools
    _repair: Repair
    _aftercare: Aftercare
    _reactor: Any
    _now: Callable[[], datetime]
    _assess: Assess

    async def follow(
        self,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int,
    ) -> None:
        """Give the log of C{deployment} to C{consume} until its end marker.

        Of several apps under one id, the newest unfinished one is followed, else
        the newest. An id that nobody knows ends after ten minutes with a failed
        marker.
        """
        began = self._reactor.seconds()
        while True:
            more = self._tools.journal.next_line()
            app = await self._app_of(deployment)
            if app is not None:
                self._tools.journal.forget(more)
                break
            left_s = UNKNOWN_LIMIT_S - (self._reactor.seconds() - began)
            if not await self._tools.journal.came(more, left_s):
                await consume(self._unknown(deployment))
                return
        await self._tools.journal.follow(app, deployment, consume, after)

    async def _app_of(self, deployment: str) -> str | None:
        """Return whose deployment is followed, C{None} while that is not known."""
        try:
            found = await self._newest(deployment)
        except HaloyError:
            untold = self._tools.journal.app_unwritten(deployment)
            if untold is None:
                raise
            return untold
        return None if found is None else found.app

    async def _newest(self, deployment: str) -> DeploymentRow | None:
        found = await self._tools.database.run(rows.deployments_by_id, deployment)
        unfinished = [row for row in found if row.state in UNFINISHED]
        return next(iter(unfinished or found), None)

    def _unknown(self, deployment: str) -> LogEntry:
        return LogEntry(
            level="ERROR",
            message="Deployment failed",
            at=self._now(),
            deployment=deployment,
            fields={"error": f"no deployment {deployment} has come", "code": "unknown"},
            complete=True,
            failed=True,
        )

    async def status(self, app: AppName) -> AppStatus:
        """Return how C{app} is. @raise NotFound: no container and nothing wanted."""
        members, _ = await self._repair.containers(app)
        wanted = await self._tools.database.run(find_app, app)
        deploying = await self._deploying()
        status = await self._status(
            app, members.get(app, ()), wanted, deploying.get(app)
        )
        if status is None:
            raise NotFound(f"app {app} is not deployed on this server")
        return status

    async def apps(self) -> tuple[AppStatus, ...]:
        """Return all apps by name."""
        members, _ = await self._repair.containers()
        wanted = {row.name: row for row in await self._tools.database.run(all_apps)}
        deploying = await self._deploying()
        found = [
            await self._status(
                name, members.get(name, ()), wanted.get(name), deploying.get(name)
            )
            for name in sorted({*members, *wanted})
        ]
        return tuple(one for one in found if one is not None)

    async def _deploying(self) -> dict[AppName, DeploymentState]:
        """Return how far the deployments under way are; a running one counts first."""
        found = await self._tools.database.run(rows.unfinished_deployments)
        return {row.app: DeploymentState(row.state) for row in reversed(found)}

    async def _status(
        self,
        app: AppName,
        members: tuple[Found, ...],
        wanted: AppRow | None,
        deploying: DeploymentState | None,
    ) -> AppStatus | None:
        if not members and (wanted is None or wanted.stopped):
            return None
        draining: dict[str, Leftover] = {}
        for one in members:
            if one.container.id in self._aftercare.draining:
                draining[one.container.id] = await self._tools.traffic.drained(
                    (one.replica,), DrainLimits(0, 0)
                )
        active = None if wanted is None else wanted.active
        return app_status(app, active, members, draining, self._assess, deploying)

    async def rollback_targets(self, app: AppName) -> tuple[RollbackTarget, ...]:
        """Return the kept deployments, newest first, without the live one."""
        wanted = await self._tools.database.run(find_app, app)
        kept: list[RollbackTarget] = []
        for row in await self._tools.database.run(rows.deployments_of, app, ROWS_LIMIT):
            if row.state not in SERVED or not row.image_ref:
                continue
            if wanted is not None and row.id == wanted.active:
                continue
            local = await self._tools.engine.image(row.image_ref)
            if local is not None or is_in_registry(row):
                kept.append(rollback_entry(row))
            if len(kept) == ROLLBACK_LIMIT:
                break
        return tuple(kept)

    async def history(
        self, app: AppName | None, limit: int, before: int
    ) -> tuple[DeploymentRecord, ...]:
        """Return deployments, newest first, of one app or of all."""
        found = await self._tools.database.run(
            rows.newest_deployments, app, limit, before
        )
        return tuple(record_of(row) for row in found)

    async def row(self, app: AppName, identifier: str) -> DeploymentRow:
        """Return how far a deployment is. @raise NotFound: there is none."""
        row = await self._tools.database.run(rows.find_deployment, app, identifier)
        if row is None:
            raise NotFound(f"app {app} has no deployment {identifier}")
        return row

    async def deployment(self, app: AppName, identifier: str) -> DeploymentDetail:
        """Return one deployment and its changes. @raise NotFound: there is none."""
        row = await self.row(app, identifier)
        before = await self._tools.database.run(rows.predecessor, row)
        return DeploymentDetail(
            record_of(row),
            None if before is None else before.id,
            changes_of(before, row),
            target_part(row),
        )
