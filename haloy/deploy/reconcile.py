"""Makes what runs match what should run, again and again.

A LoopingCall looks at everything; hints (Docker's events, the end of a deployment)
ask for a look at once. What is missing of a live deployment is started or created
again with back-off; what a dead deployment left behind is removed by its id, once
the live one serves. Containers that are not ours are told about and never touched.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from haloy.config.wire import target_from_json
from haloy.deploy.aftercare import Aftercare
from haloy.deploy.containers import container_spec, replica_count
from haloy.deploy.discovery import (
    Found,
    by_app,
    describe,
    discover,
    newest_started,
)
from haloy.engine.interface import ContainerState, Engine
from haloy.errors import HaloyError, NotFound
from haloy.model.app import App
from haloy.model.labels import APP
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import DrainLimits
from haloy.store import deployments as rows
from haloy.store.database import Database
from haloy.store.deployments import DeploymentRow, ReplicaRow
from haloy.tasks import Tasks

INTERVAL_S = 10.0
HINT_DELAY_S = 0.05
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0

_DOWN = frozenset({ContainerState.CREATED, ContainerState.EXITED, ContainerState.DEAD})


@frozen
class _Retry:
    """When a replica may be started again, and how long the wait after that is."""

    not_before_s: float
    wait_s: float


@define(eq=False)
class Reconciler:
    """Owns the look at what runs; deployments have the say while they run.

    @ivar busy: whether a deployment of an app runs; its containers are left alone.
    @ivar _discovered: told of all apps and the replicas that ought to serve.
    """

    _engine: Engine
    _database: Database
    aftercare: Aftercare
    _reactor: Any
    _now: Callable[[], datetime]
    _discovered: Callable[[tuple[App, ...]], None]
    busy: Callable[[AppName], bool] = lambda _app: False
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _asked: bool = field(default=False, init=False)
    _looking: bool = field(default=False, init=False)
    _retries: dict[str, _Retry] = field(factory=dict, init=False)
    _told: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the looks."""
        self._tasks = Tasks(self._log)

    # --- life -------------------------------------------------------------------

    def start(self) -> None:
        """Look now and every L{INTERVAL_S} seconds."""
        self._loop = LoopingCall(self.poke, None)
        self._loop.clock = self._reactor
        self._loop.start(INTERVAL_S)

    async def stop(self) -> None:
        """Look no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self._loop = None
        await self._tasks.stop()

    def poke(self, app: AppName | None) -> None:
        """Look soon; several hints in a moment are one look."""
        if self._loop is None or self._asked:
            return
        self._asked = True
        if not self._looking:
            self._tasks.start("reconciling", self._look_soon())

    async def _look_soon(self) -> None:
        self._looking = True
        try:
            while self._asked:
                await deferLater(self._reactor, HINT_DELAY_S)
                self._asked = False
                try:
                    await self.look()
                except HaloyError as problem:
                    self._log.warn("cannot reconcile: {problem}", problem=str(problem))
        finally:
            self._looking = False

    # --- one look -----------------------------------------------------------------

    async def discovered(self) -> dict[AppName, tuple[Found, ...]]:
        """Return the containers of every app as they are now."""
        replicas = await self._database.run(rows.replicas)
        wanted = await self._database.run(rows.apps)
        known = {(row.app, row.deployment) for row in replicas}
        known |= {(row.name, row.active) for row in wanted}
        found, unusable = discover(
            await self._engine.containers({APP: None}),
            {row.name for row in replicas},
            known,
        )
        for one in unusable:
            if one.name not in self._told:
                self._told.add(one.name)
                self._log.warn(
                    "container {container} of app {app} is not routed: {reason}",
                    container=one.name,
                    app=one.app,
                    reason=one.reason,
                )
        return by_app(found)

    async def look(self) -> None:
        """Compare once, repair what may be repaired, and tell who ought to serve."""
        members = await self.discovered()
        active = {row.name: row for row in await self._database.run(rows.apps)}
        replicas = await self._database.run(rows.replicas)
        serving: list[App] = []
        for name in sorted({*members, *active}):
            if self.busy(name):
                continue
            found = members.get(name, ())
            wanted = active.get(name)
            if wanted is None:
                app = _as_found(found)
            elif wanted.stopped:
                continue
            else:
                found = await self._repair(name, wanted.active, found, replicas)
                app = describe(found, wanted.active)
            if app is not None:
                serving.append(_running_only(app))
        self._discovered(tuple(serving))

    async def _repair(
        self,
        app: AppName,
        active: DeploymentId,
        members: tuple[Found, ...],
        replicas: list[ReplicaRow],
    ) -> tuple[Found, ...]:
        """Return the members after what could be done for C{app}."""
        row = await self._database.run(rows.find_deployment, app, active)
        if row is None:
            return members
        draining = {one.container_id for one in replicas if one.draining}
        await self._clear_leftovers(active, members, draining)
        try:
            return await self._complete(row, members)
        except HaloyError as problem:
            self._log.warn(
                "app {app} cannot be repaired now: {problem}",
                app=app,
                problem=str(problem),
            )
            return members

    async def _clear_leftovers(
        self, active: DeploymentId, members: tuple[Found, ...], draining: set[str]
    ) -> None:
        """Let go what other deployments of ours left, once the live one runs (E5, E6).

        What was draining before a restart drains on.
        """
        live = describe(members, active)
        for one in members:
            container = one.container.id
            if one.labels.deployment == active or not one.ours:
                continue
            if container in self.aftercare.draining:
                continue
            if live is None or not any(replica.running for replica in live.replicas):
                continue
            self._log.info(
                "container {container} of {app} is left over from deployment "
                "{deployment} and goes",
                container=one.container.name,
                app=one.labels.app,
                deployment=one.labels.deployment,
            )
            proxy = one.labels.proxy
            limits = DrainLimits(proxy.drain_requests_s, proxy.drain_tunnels_s)
            if container not in draining:
                limits = DrainLimits(0, 0)
            await self.aftercare.begin((one.replica,), limits)

    async def _complete(
        self, row: DeploymentRow, members: tuple[Found, ...]
    ) -> tuple[Found, ...]:
        """Start what is down and create what is gone of a live deployment."""
        target = target_from_json(row.target)
        changed = False
        present = {
            one.replica.number: one
            for one in members
            if one.ours and one.labels.deployment == row.id
        }
        count = replica_count(target) if target.name else 0
        for number in range(1, count + 1):
            one = present.get(number)
            key = f"{row.app}/{row.id}/{number}"
            if one is not None and one.container.state not in _DOWN:
                continue
            if not self._may_try(key):
                continue
            changed = True
            if one is not None:
                await self._start(one)
            else:
                await self._recreate(row, number)
        if not changed:
            return members
        return (await self.discovered()).get(row.app, ())

    async def _start(self, one: Found) -> None:
        self._log.info(
            "starting {container}, which ended with code {code}",
            container=one.container.name,
            code=one.container.exit_code,
        )
        aside = f"{one.labels.app}-{one.labels.deployment}-old"
        if one.container.name == aside:
            await self._engine.rename(one.container.id, one.labels.app)
            await self._database.run(rows.rename_replica, aside, one.labels.app)
        await self._engine.start(one.container.id)

    async def _recreate(self, row: DeploymentRow, number: int) -> None:
        """Create a replica that has vanished, from what its deployment says."""
        target = target_from_json(row.target)
        spec = container_spec(target, row.id, number, row.image_ref)
        self._log.info("creating {container}, which has vanished", container=spec.name)
        await self._database.run(rows.add_replica, spec.name, row.app, row.id, number)
        try:
            container = await self._engine.create(spec)
        except NotFound:
            # The tag may be gone while the image is still here.
            container = await self._engine.create(evolve(spec, image=row.image_id))
        await self._database.run(rows.set_container, spec.name, container)
        await self._engine.start(container)

    def _may_try(self, key: str) -> bool:
        """Return whether the ladder allows another try, and take it."""
        now_s = self._reactor.seconds()
        retry = self._retries.get(key)
        if retry is not None and now_s < retry.not_before_s:
            return False
        wait_s = FIRST_RETRY_S
        if retry is not None and now_s < retry.not_before_s + LONGEST_RETRY_S:
            wait_s = min(retry.wait_s * 2, LONGEST_RETRY_S)
        self._retries[key] = _Retry(now_s + wait_s, wait_s)
        return True


def _as_found(members: tuple[Found, ...]) -> App | None:
    """Return an app that has no desired state: the one started last serves."""
    newest = newest_started(members)
    return None if newest is None else describe(members, newest)


def _running_only(app: App) -> App:
    running = tuple(one for one in app.replicas if one.running)
    return evolve(app, replicas=running)
