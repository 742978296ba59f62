"""Deployments: taken, carried out one an app at a time, recorded, told."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from attrs import define, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from haloy.config.app_file import ImageConfig, Target
from haloy.config.daemon_file import PolicySettings
from haloy.config.wire import target_to_json
from haloy.deploy.aftercare import Aftercare
from haloy.deploy.asking import Asking
from haloy.deploy.conduct import Conductor, refuse_manual
from haloy.deploy.containers import refuse_forbidden
from haloy.deploy.images import keeps_history
from haloy.deploy.interface import (
    AppStatus,
    DeploymentDetail,
    DeploymentRecord,
    DeployRequest,
    LogEntry,
    Names,
    Readiness,
    RollbackTarget,
    Traffic,
)
from haloy.deploy.journal import Journal
from haloy.deploy.phases import PhaseTimes
from haloy.deploy.progress import Tools, no_credentials
from haloy.deploy.pulling import UNSEEN, DockerDisk
from haloy.deploy.queue import DeployQueue
from haloy.deploy.reconcile import Reconciler
from haloy.deploy.repair import Repair
from haloy.deploy.rollback import rollback_target
from haloy.deploy.situation import Situation
from haloy.deploy.stopping import Stopping
from haloy.engine.interface import Credentials, Engine
from haloy.errors import (
    Conflict,
    EngineUnavailable,
    HaloyError,
    InvalidValue,
    NotFound,
)
from haloy.model.app import App, Assessment
from haloy.model.names import AppName, DeploymentId
from haloy.store import deployments as rows
from haloy.store.database import Database
from haloy.store.deployments import NewDeployment
from haloy.store.takeover import take_over
from haloy.tasks import Tasks

#: How long who stops an app waits to hear how it went: clients wait 30 s.
STOP_TOLD_S = 25.0
#: How long a replica may run and fail before it is replaced, unless told otherwise.
HUNG_AFTER_S = 60.0


def deploy_service(
    *,
    engine: Engine,
    traffic: Traffic,
    readiness: Readiness,
    database: Database,
    reactor: Any,
    now: Callable[[], datetime],
    policy: PolicySettings,
    discovered: Callable[[tuple[App, ...]], None],
    assess: Callable[[str], Assessment | None],
    stored_credentials: Callable[[str], Credentials | None] = no_credentials,
    instance: str = "",
    names: Names | None = None,
    hung_after_s: Callable[[], float] = lambda: HUNG_AFTER_S,
    disk: DockerDisk = UNSEEN,
) -> DeployService:
    """Return the service, not started; C{database} must be open by then.

    @param discovered: told, after every look, of all apps and the replicas that
        ought to serve; two apps of one name while a deployment is under way.
    @param assess: what the health monitor thinks of a container, by its id.
    @param stored_credentials: the daemon's own login at a registry, by its host.
    @param instance: which haloyd this is (C{store.instance}); the containers of
        another one on the same Docker are left alone.
    @param names: what is to be said of domains in a deployment's log.
    @param hung_after_s: for how long a replica may run and fail before it is replaced.
    @param disk: Docker's own, looked at before and in a pull.
    """
    journal = Journal(database, now, reactor)
    phases = PhaseTimes(reactor)
    tools = Tools(
        engine,
        traffic,
        readiness,
        database,
        journal,
        reactor,
        phases,
        stored_credentials,
        instance,
        names=names,
        disk=disk,
    )
    aftercare = Aftercare(engine, traffic, database, phases, tools.stop_grace_s)
    repair = Repair(
        engine,
        database,
        traffic,
        aftercare,
        reactor,
        now,
        assess,
        hung_after_s,
        instance,
    )
    return DeployService(
        tools, aftercare, repair, reactor, now, policy, assess, discovered
    )


@define(eq=False)
class DeployService:
    """Implements C{deploy.interface.Deployments}; made by L{deploy_service}."""

    _tools: Tools
    _aftercare: Aftercare
    _repair: Repair
    _reactor: Any
    _now: Callable[[], datetime]
    _policy: PolicySettings
    _assess: Callable[[str], Assessment | None]
    _discovered: Callable[[tuple[App, ...]], None]
    _log: Logger = field(factory=Logger, init=False)
    _queue: DeployQueue = field(init=False)
    _asking: Asking = field(init=False)
    reconciler: Reconciler = field(init=False)
    _conductor: Conductor = field(init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Wire the queue to what is done with a deployment."""
        self._tasks = Tasks(self._log)
        self._conductor = Conductor(
            self._tools,
            self._aftercare,
            self._repair,
            lambda app: self.reconciler.serves(app),
            self.poke,
        )
        self._queue = DeployQueue(self._conductor.carry_out, self._conductor.supersede)
        self._asking = Asking(
            self._tools,
            self._repair,
            self._aftercare,
            self._reactor,
            self._now,
            self._assess,
        )
        self.reconciler = Reconciler(
            self._repair,
            self._tools.database,
            self._tools.traffic,
            self._aftercare,
            self._queue,
            self._reactor,
            self._conductor.progress,
            self._discovered,
        )

    # --- life ------------------------------------------------------------------

    async def start(self) -> None:
        """Take over what is there, tell what a crash interrupted, reconcile."""
        taken = await self._tools.database.run(take_over, self._now())
        if taken.deployments or taken.unreadable:
            self._log.info(
                "took over {count} deployments of the Go daemon; unreadable: {bad}",
                count=len(taken.deployments),
                bad=", ".join(taken.unreadable) or "none",
            )
        for row in await self._tools.database.run(rows.unfinished_deployments):
            await self._conductor.interrupted(row.app, row.id)
        self.reconciler.start()

    async def stop(self) -> None:
        """Tell open streams that their deployment was interrupted, then stop."""
        await self.reconciler.stop()
        waited = await self._queue.stop()
        for app, identifier in waited.items():
            await self._conductor.interrupted(app, identifier)
        await self._aftercare.stop()
        await self._conductor.stop()
        await self._tasks.stop()
        await self._tools.journal.stop()

    def allow(self, policy: PolicySettings) -> None:
        """Accept by C{policy} from now on; what runs goes on."""
        self._policy = policy

    @property
    def draining(self) -> frozenset[str]:
        """The containers that only finish what they have."""
        return self._aftercare.draining

    @property
    def phases_s(self) -> Mapping[tuple[str, str], float]:
        """Seconds that deployments have spent, by app and phase."""
        return self._tools.phases.spent_s

    def poke(self, app: AppName | None) -> None:
        """Look at C{app} soon, at everything when C{None}."""
        self.reconciler.poke(app)

    # --- taking requests ----------------------------------------------------------

    async def submit(self, request: DeployRequest) -> None:
        """Take a request; return when it is durably queued.

        @raise Conflict: the id exists with another content, or the app's
            containers were made by others.
        @raise PolicyRefused: the server's rules do not allow it.
        @raise InvalidValue: the app's name cannot be an image's.
        """
        app = AppName(request.target.name or "")
        refuse_forbidden(request.target, self._policy)
        image = request.target.image or ImageConfig()
        if keeps_history(image) and app != app.lower():
            raise InvalidValue(
                f"{app!r} must be lower case: its images are tagged {app.lower()}:…; "
                "or set image.history.strategy: none",
                field="name",
            )
        target = target_to_json(request.target)
        new = NewDeployment(
            app=app,
            id=request.id,
            target=target,
            stored=request.stored,
            fingerprint=_fingerprint(target, request.stored),
            asked_by=request.asked_by,
            rolled_back_from=request.rolled_back_from,
            created_at=self._now(),
        )
        known = await self._tools.database.run(rows.find_deployment, app, request.id)
        if known is None:
            try:
                members, _ = await self._repair.containers(app)
                refuse_manual(app, Situation(members.get(app, ()), None, ()))
            except EngineUnavailable:
                pass  # the deployment will say so in its log
            ahead = self._queue.ahead(app)
            queued = f"Deployment of {app} is queued"
            text = f"{queued} behind {ahead}" if ahead else queued
            line = self._tools.journal.line(app, request.id, "INFO", text)
            known = await self._tools.database.run(rows.add_deployment, new, line)
        if known is None:
            self._tools.journal.wake()
            await self._queue.put(app, request.id)
        elif known.fingerprint != new.fingerprint:
            raise Conflict(
                f"deployment {request.id} of {app} exists with another content; "
                "use a new deployment id"
            )

    async def rollback_request(
        self,
        target: DeploymentId,
        new: DeploymentId,
        config: Target,
        asked_by: str,
    ) -> DeployRequest:
        """Return the request that brings C{target} back under the id C{new}.

        What C{config} lacks is taken from the stored configuration of C{target}.

        @raise NotFound: the app has no such deployment that has served.
        """
        app = AppName(config.name or "")
        row = await self._tools.database.run(rows.find_deployment, app, target)
        if row is None or row.state not in rows.SERVED or not row.image_ref:
            raise NotFound(f"app {app} has no deployment {target} to go back to")
        return DeployRequest(
            id=new,
            target=rollback_target(row, config),
            stored=row.stored,
            asked_by=asked_by,
            rolled_back_from=target,
        )

    # --- asking ---------------------------------------------------------------------

    async def follow(
        self,
        deployment: str,
        consume: Callable[[LogEntry], Awaitable[None]],
        after: int = 0,
    ) -> None:
        """Give the log of C{deployment} to C{consume} until its end marker."""
        await self._asking.follow(deployment, consume, after)

    async def status(self, app: AppName) -> AppStatus:
        """Return how C{app} is. @raise NotFound: unknown."""
        return await self._asking.status(app)

    async def apps(self) -> tuple[AppStatus, ...]:
        """Return all apps by name."""
        return await self._asking.apps()

    async def rollback_targets(self, app: AppName) -> tuple[RollbackTarget, ...]:
        """Return the kept deployments, newest first, without the live one."""
        return await self._asking.rollback_targets(app)

    async def history(
        self, app: AppName | None, limit: int, before: int = 0
    ) -> tuple[DeploymentRecord, ...]:
        """Return deployments, newest first, of one app or of all."""
        return await self._asking.history(app, limit, before)

    async def deployment(self, app: AppName, identifier: str) -> DeploymentDetail:
        """Return one deployment. @raise NotFound: there is none."""
        return await self._asking.deployment(app, identifier)

    # --- stopping -------------------------------------------------------------------

    async def cancel(self, app: AppName, identifier: str, asked_by: str) -> None:
        """Cancel a deployment that waits for its turn.

        @raise NotFound: there is none.
        @raise Conflict: it has begun, or has ended.
        """
        found = await self._asking.row(app, identifier)
        if not self._queue.cancel(app, found.id):
            raise Conflict(
                f"deployment {found.id} of {app} is no longer waiting: "
                f"it is {found.state}"
            )
        reason = f"it was cancelled by {asked_by} before it began"
        await self._conductor.supersede(app, found.id, reason, "cancelled")

    async def stop_app(self, app: AppName, remove: bool, remove_volumes: bool) -> None:
        """Stop an app on purpose; return when it is stopped, or when that takes long.

        Behind a deployment that runs, or after L{STOP_TOLD_S}, it goes on without
        anybody waiting.

        @raise NotFound: there is no such app.
        @raise Conflict: its containers were made by others.
        @raise EngineError: something still runs or stays (A13).
        """
        now = await self._repair.situation(app)
        idle = self._queue.idle(app)
        if not now.members and now.wanted is None and idle:
            raise NotFound(f"app {app} is not deployed on this server")
        if now.members and not now.ours:
            raise Conflict(
                f"the containers of {app} were not made by haloy; stop them yourself"
            )
        await self._queue.drop(app, "the app was stopped before this one began")

        failed: list[HaloyError] = []

        async def stop() -> None:
            settled = await self._repair.settle(app)
            try:
                await Stopping(self._tools, app).stop(settled, remove, remove_volumes)
            except HaloyError as problem:
                failed.append(problem)
                self._log.error("{problem}", problem=str(problem))
            self.reconciler.poke(app)

        ended = self._tasks.start(f"stopping {app}", self._queue.alone(app, stop))
        if idle:
            await self._watch(ended)
        if failed:
            raise failed[0]

    async def _watch(self, ended: Deferred[None]) -> None:
        """Return when C{ended} has fired, or after a while; it goes on all the same."""
        told: Deferred[None] = Deferred()
        ended.addBoth(lambda _: None if told.called else told.callback(None))
        told.addTimeout(STOP_TOLD_S, self._reactor)
        with suppress(defer.TimeoutError):
            await told


def _fingerprint(target: Mapping[str, Any], stored: Mapping[str, Any]) -> str:
    text = json.dumps([target, stored], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
