"""Deployments: taken, carried out one an app at a time, recorded, told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from attrs import define, evolve, field
from twisted.logger import Logger

from haloy.config.app_file import ImageConfig, Target
from haloy.config.daemon_file import PolicySettings
from haloy.config.wire import target_from_json, target_to_json, unstructure
from haloy.deploy.aftercare import Aftercare
from haloy.deploy.containers import refuse_forbidden, strategy_of
from haloy.deploy.discovery import Found, describe, newest_started
from haloy.deploy.images import keeps_history
from haloy.deploy.interface import (
    AppStatus,
    DeploymentState,
    DeployRequest,
    LogEntry,
    RollbackTarget,
)
from haloy.deploy.queue import DeployQueue
from haloy.deploy.reconcile import Reconciler
from haloy.deploy.retention import apply_retention
from haloy.deploy.run import DeploymentRun, Tools
from haloy.deploy.status import app_status
from haloy.errors import Conflict, DeployFailed, HaloyError, NotFound
from haloy.model.app import App, Assessment
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import DrainLimits
from haloy.store import deployments as rows
from haloy.store.deployments import DeploymentRow
from haloy.tasks import Tasks

ROLLBACK_LIMIT = 50
UNKNOWN_LIMIT_S = 600.0
STOP_DRAIN = DrainLimits(requests_s=5, tunnels_s=0)


@define(eq=False)
class DeployService:
    """Implements C{deploy.interface.Deployments}.

    @ivar _assess: what the health monitor thinks of a container.
    """

    tools: Tools
    reconciler: Reconciler
    _reactor: Any
    _now: Callable[[], datetime]
    _policy: PolicySettings
    _assess: Callable[[str], Assessment | None]
    _log: Logger = field(factory=Logger, init=False)
    _queue: DeployQueue = field(init=False)
    _aftercare: Aftercare = field(init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Wire the queue to what is done with a deployment."""
        self._tasks = Tasks(self._log)
        self._queue = DeployQueue(self._carry_out, self._supersede)
        self._aftercare = self.reconciler.aftercare
        self.reconciler.busy = self._queue.busy

    # --- life ------------------------------------------------------------------

    async def start(self) -> None:
        """Tell what a crash interrupted; what should run is then reconciled."""
        for row in await self.tools.database.run(rows.unfinished_deployments):
            await self._interrupted(row)
        self.reconciler.start()

    async def stop(self) -> None:
        """Tell open streams that their deployment was interrupted, then stop."""
        await self.reconciler.stop()
        running = self._queue.running()
        await self._queue.stop()
        for app, identifier in running.items():
            row = await self.tools.database.run(rows.find_deployment, app, identifier)
            if row is not None and not _is_final(row.state):
                await self._interrupted(row)
        await self._aftercare.stop()
        await self._tasks.stop()

    async def _interrupted(self, row: DeploymentRow) -> None:
        await self._end(
            row,
            DeploymentState.INTERRUPTED,
            DeployFailed(
                "haloyd was stopped before the deployment was finished; "
                "the version before it serves on. Deploy again",
                failure="interrupted",
            ),
        )

    # --- taking requests ----------------------------------------------------------

    async def submit(self, request: DeployRequest) -> None:
        """Take a request; return when it is durably queued."""
        refuse_forbidden(request.target, self._policy)
        app = AppName(request.target.name or "")
        await self._refuse_manual(app)
        target = target_to_json(request.target)
        found = await self.tools.database.run(
            rows.add_deployment,
            app,
            request.id,
            target,
            request.stored,
            _fingerprint(target, request.stored),
            request.asked_by,
            request.rolled_back_from,
            self._now(),
        )
        if found is not None:
            if found.fingerprint != _fingerprint(target, request.stored):
                raise Conflict(
                    f"deployment {request.id} of {app} exists with another content; "
                    "use a new deployment id"
                )
            return
        await self._queue.put(app, request.id)

    async def _refuse_manual(self, app: AppName) -> None:
        """@raise Conflict: the app's containers were started by hand (D18)."""
        members = (await self.reconciler.discovered()).get(app, ())
        manual = [one.container.name for one in members if one.running and not one.ours]
        if manual:
            raise Conflict(
                f"app {app} is served by {', '.join(manual)}, which was not made by "
                "haloy; stop and remove it first, or deploy under another name"
            )

    async def rollback_request(
        self, target: DeploymentId, new: DeploymentId, config: Target, asked_by: str
    ) -> DeployRequest:
        """Return the request that brings C{target} back under the id C{new}.

        What C{config} lacks is taken from the stored configuration of C{target}.
        """
        app = AppName(config.name or "")
        row = await self.tools.database.run(rows.find_deployment, app, target)
        if row is None:
            raise NotFound(f"app {app} has no deployment {target}")
        stored = _deploy_config(row.stored)
        own = {
            key: value
            for key, value in target_to_json(config).items()
            if key != "image"
        }
        merged = target_from_json({**stored, **own, "image": _kept_image(row)})
        return DeployRequest(
            id=new,
            target=merged,
            stored=row.stored,
            asked_by=asked_by,
            rolled_back_from=target,
        )

    # --- carrying out -----------------------------------------------------------------

    async def _supersede(
        self, app: AppName, identifier: DeploymentId, newer: DeploymentId
    ) -> None:
        row = await self.tools.database.run(rows.find_deployment, app, identifier)
        if row is not None:
            await self._end(
                row,
                DeploymentState.SUPERSEDED,
                DeployFailed(
                    f"deployment {newer} came before this one began",
                    failure="superseded",
                ),
            )

    async def _carry_out(self, app: AppName, identifier: DeploymentId) -> None:
        row = await self.tools.database.run(rows.find_deployment, app, identifier)
        if row is None or _is_final(row.state):
            return
        try:
            run = await self._prepare(row)
            await self.tools.journal.write(
                app,
                identifier,
                "INFO",
                f"Deploying {app}",
                {"strategy": strategy_of(run.target).value},
            )
            await run.carry_out()
        except HaloyError as problem:
            await self._end(row, DeploymentState.FAILED, problem)
            self.reconciler.poke(app)
            return
        except Exception as problem:
            self._log.failure("deployment {id} of {app}", id=identifier, app=app)
            failed = DeployFailed(
                f"haloyd made a mistake ({type(problem).__name__}); its log says more",
                failure="internal",
            )
            await self._end(row, DeploymentState.FAILED, failed)
            self.reconciler.poke(app)
            return
        await self._went_live(row, run)

    async def _prepare(self, row: DeploymentRow) -> DeploymentRun:
        target = target_from_json(row.target)
        members = (await self.reconciler.discovered()).get(row.app, ())
        serving = await self._serving(row.app, members)
        old = tuple(one for one in members if one.labels.deployment == serving)
        old_app = None if serving is None else describe(members, serving)
        return DeploymentRun(self.tools, row, target, old_app, old)

    async def _serving(
        self, app: AppName, members: tuple[Found, ...]
    ) -> DeploymentId | None:
        """Return the deployment that serves C{app} now, C{None} without one."""
        for one in await self.tools.database.run(rows.apps):
            if one.name == app and not one.stopped:
                return one.active
        return newest_started(members)

    async def _went_live(self, row: DeploymentRow, run: DeploymentRun) -> None:
        database = self.tools.database
        await database.run(rows.activate, row.app, row.id)
        old = tuple(found.replica for found in run.old)
        limits = _drain_limits(run.old_app or run.app)
        await self._aftercare.begin(old, limits)
        state = DeploymentState.DRAINING if old else DeploymentState.LIVE
        await database.run(
            rows.set_state, row.app, row.id, state.value, "", "", self._now()
        )
        if keeps_history(run.image):
            await database.run(
                rows.share_deployment,
                row.app,
                row.id,
                _deploy_config(row.stored),
                _deployed_image(run.image, row),
            )
        await self.tools.journal.write(
            row.app,
            row.id,
            "INFO",
            f"Deployed {row.app}",
            {"replicas": str(len(run.replicas))},
            tuple(domain.canonical for domain in run.app.domains),
            complete=True,
        )
        self.reconciler.poke(row.app)
        self._tasks.start(
            f"removing old images of {row.app}",
            apply_retention(self.tools.engine, database, row.app, run.image),
        )

    async def _end(
        self, row: DeploymentRow, state: DeploymentState, problem: HaloyError
    ) -> None:
        """Write how a deployment ended without going live, and its end marker."""
        failure = getattr(problem, "failure", problem.code)
        await self.tools.database.run(
            rows.set_state,
            row.app,
            row.id,
            state.value,
            failure,
            problem.reason,
            self._now(),
        )
        logs = getattr(problem, "logs", "")
        fields = {"error": problem.reason, "code": failure}
        if logs:
            fields["logs"] = f"\n{logs}"
        await self.tools.journal.write(
            row.app,
            row.id,
            "ERROR",
            f"Deployment of {row.app} {_verb(state)}",
            fields,
            complete=True,
            failed=True,
        )

    # --- asking ---------------------------------------------------------------

    async def follow(
        self,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        """Give the log of C{deployment} to C{consume} until its end marker.

        Of several apps under one id, the newest unfinished one is followed. An id
        that nobody knows ends after ten minutes with a failed marker.
        """
        began = self._reactor.seconds()
        while not (found := await self._newest(deployment)):
            left_s = UNKNOWN_LIMIT_S - (self._reactor.seconds() - began)
            if left_s <= 0 or not await self._any_news(left_s):
                await consume(self._unknown(deployment))
                return
        await self.tools.journal.follow(found.app, found.id, consume, after)

    async def _newest(self, deployment: str) -> DeploymentRow | None:
        found = await self.tools.database.run(rows.deployments_by_id, deployment)
        unfinished = [row for row in found if not _is_final(row.state)]
        return next(iter(unfinished or found), None)

    async def _any_news(self, limit_s: float) -> bool:
        """Return whether a line was written anywhere before C{limit_s}."""
        return await self.tools.journal.changed_within(self._reactor, limit_s)

    def _unknown(self, deployment: str) -> LogEntry:
        return LogEntry(
            level="ERROR",
            message="Deployment failed",
            at=self._now(),
            deployment=deployment,
            fields={"error": f"no deployment {deployment} has come"},
            complete=True,
            failed=True,
        )

    async def status(self, app: AppName) -> AppStatus:
        """Return how C{app} is. @raise NotFound: unknown."""
        for one in await self.apps():
            if one.app == app:
                return one
        raise NotFound(f"app {app} is not deployed here")

    async def apps(self) -> tuple[AppStatus, ...]:
        """Return all apps by name."""
        wanted = {one.name: one for one in await self.tools.database.run(rows.apps)}
        members = await self.reconciler.discovered()
        draining = self._aftercare.draining
        found = []
        for name in sorted({*members, *wanted}):
            active = wanted[name].active if name in wanted else None
            status = app_status(
                name, active, members.get(name, ()), draining, self._assess
            )
            if status is not None:
                running = self._queue.busy(name)
                deploying = DeploymentState.STARTING if running else None
                found.append(evolve(status, deploying=deploying))
        return tuple(found)

    async def rollback_targets(self, app: AppName) -> tuple[RollbackTarget, ...]:
        """Return the kept deployments, newest first, without the live one."""
        active = {
            one.name: one.active for one in await self.tools.database.run(rows.apps)
        }
        kept = []
        for row in await self.tools.database.run(
            rows.deployments_of, app, ROLLBACK_LIMIT
        ):
            if row.state not in {"retired", "live", "draining"} or not row.image_ref:
                continue
            if row.id == active.get(app):
                continue
            if await self.tools.engine.image(row.image_ref) is None:
                continue
            config = {**row.stored, "image": _kept_image(row)}
            kept.append(RollbackTarget(row.id, row.image_ref, config))
        return tuple(kept)

    # --- stopping -------------------------------------------------------------

    async def stop_app(self, app: AppName, remove: bool, remove_volumes: bool) -> None:
        """Stop an app on purpose; return when accepted. @raise NotFound: unknown."""
        members = (await self.reconciler.discovered()).get(app, ())
        wanted = {one.name for one in await self.tools.database.run(rows.apps)}
        if not members and app not in wanted:
            raise NotFound(f"app {app} is not deployed here")
        ours = [one for one in members if one.ours]
        if members and not ours:
            raise Conflict(
                f"the containers of {app} were not made by haloy; stop them yourself"
            )
        await self.tools.database.run(rows.set_stopped, app)
        self._tasks.start(
            f"stopping {app}", self._stop_app(app, ours, remove, remove_volumes)
        )

    async def _stop_app(
        self, app: AppName, members: list[Found], remove: bool, volumes: bool
    ) -> None:
        await self._queue.until_idle(app)
        await self.tools.traffic.forget(app)
        for one in members:
            await self.tools.traffic.drained((one.replica,), STOP_DRAIN)
            await self.tools.engine.stop(one.container.id, self.tools.stop_grace_s)
            if remove:
                await self.tools.engine.remove(one.container.id)
                await self.tools.database.run(rows.forget_replicas, [one.container.id])
        if remove and volumes:
            for name in await self.tools.engine.volumes({"dev.haloy.appName": app}):
                await self.tools.engine.remove_volume(name)
        self._log.info("app {app} was stopped", app=app)


def _is_final(state: str) -> bool:
    return state not in {"queued", "pulling", "starting", "checking"}


def _verb(state: DeploymentState) -> str:
    if state is DeploymentState.SUPERSEDED:
        return "was superseded"
    if state is DeploymentState.INTERRUPTED:
        return "was interrupted"
    return "failed"


def _drain_limits(app: App) -> DrainLimits:
    return DrainLimits(app.proxy.drain_requests_s, app.proxy.drain_tunnels_s)


def _fingerprint(target: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    text = json.dumps([target, stored], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _deploy_config(stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored configuration without what is no key of a target."""
    root_only = {
        "images",
        "targets",
        "secretProviders",
        "globalPreDeploy",
        "globalPostDeploy",
    }
    return {key: value for key, value in stored.items() if key not in root_only}


def _deployed_image(image: ImageConfig, row: DeploymentRow) -> dict[str, Any]:
    """Return the image as a rollback would run it: by its deployment tag."""
    kept = evolve(image, repository=row.app, tag=row.id, registry=None)
    return unstructure(kept, camel=True)


def _kept_image(row: DeploymentRow) -> dict[str, Any]:
    """Return the image entry that runs exactly what C{row} ran, without a pull."""
    stored = row.stored.get("image")
    history = stored.get("history") if isinstance(stored, Mapping) else None
    repository, _, tag = row.image_ref.rpartition(":")
    entry: dict[str, Any] = {
        "repository": repository,
        "tag": tag,
        "pullPolicy": "never",
        "build": False,
    }
    return entry | ({"history": history} if history else {})
