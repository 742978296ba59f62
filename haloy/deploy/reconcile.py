"""Looks at what runs, tells who ought to serve, and has repaired what does not match.

A LoopingCall looks at everything; hints (Docker's events, the end of a deployment)
ask for a look at once. Looking decides nothing for good, but that all that runs is
taken over when no app is known: what has to be done with an app is done by
C{deploy.repair} when it is that app's turn, so that no app waits for another and no
deployment is judged by what was read before its switch (D2, D8).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from haloy.deploy.aftercare import Aftercare
from haloy.deploy.discovery import (
    Found,
    Unusable,
    describe,
    newest_started,
    port_problem,
)
from haloy.deploy.interface import Traffic
from haloy.deploy.progress import Progress
from haloy.deploy.queue import DeployQueue
from haloy.deploy.repair import Repair
from haloy.deploy.situation import needs_repair
from haloy.errors import HaloyError
from haloy.model.app import App, Replica
from haloy.model.names import AppName
from haloy.store import deployments as rows
from haloy.store.apps import AppRow, all_apps
from haloy.store.database import Database
from haloy.store.deployments import DeploymentRow
from haloy.tasks import Tasks

INTERVAL_S = 30.0
HINT_DELAY_S = 0.05
#: After a look that Docker did not answer.
RETRY_S = 1.0


@define(eq=False)
class Reconciler:
    """Owns the look at what runs; deployments have the say while they run.

    @ivar _progress: the deployment of an app that runs now, C{None} when none does.
    @ivar _discovered: told of all apps and the replicas that ought to serve.
    """

    _repair: Repair
    _database: Database
    _traffic: Traffic
    _aftercare: Aftercare
    _queue: DeployQueue
    _reactor: Any
    _progress: Callable[[AppName], Progress | None]
    _discovered: Callable[[tuple[App, ...]], None]
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _asked: set[AppName | None] = field(factory=set, init=False)
    _looking: bool = field(default=False, init=False)
    _seen_all: bool = field(default=False, init=False)
    _repairing: set[AppName] = field(factory=set, init=False)
    _serving: dict[AppName, tuple[App, ...]] = field(factory=dict, init=False)
    _switches: dict[AppName, int] = field(factory=dict, init=False)
    _told: set[str] = field(factory=set, init=False)
    _later: dict[AppName | None, IDelayedCall] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the looks and the repairs."""
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
        for call in self._later.values():
            call.cancel()
        self._later.clear()
        await self._tasks.stop()

    def poke(self, app: AppName | None) -> None:
        """Look at C{app} (all when C{None}) soon; hints in a moment are one look."""
        if self._loop is None:
            return
        self._asked.add(app)
        if not self._looking:
            self._looking = True
            self._tasks.start("reconciling", self._look_soon())

    def serves(self, app: App) -> None:
        """Note who serves from now on; a look that began earlier cannot know it."""
        self._serving[app.name] = (app,)
        self._switches[app.name] = self._switches.get(app.name, 0) + 1

    async def _look_soon(self) -> None:
        try:
            while self._asked:
                await deferLater(self._reactor, HINT_DELAY_S)
                asked, self._asked = self._asked, set()
                if None in asked or not self._seen_all:
                    await self._look_and_tell(None)
                else:
                    for app in sorted(filter(None, asked)):
                        await self._look_and_tell(app)
        finally:
            self._looking = False

    async def _look_and_tell(self, app: AppName | None) -> None:
        try:
            await self.look(app)
        except HaloyError as problem:
            self._log.warn("cannot reconcile: {problem}", problem=str(problem))
            self._poke_in(RETRY_S, app)

    # --- one look -----------------------------------------------------------------

    async def look(self, only: AppName | None = None) -> None:
        """Compare once: tell who ought to serve, begin the repairs that are needed.

        @param only: look at this app; the others are told as they were.
        """
        before = {one.container_id: one for one in self._replicas(only)}
        switches = dict(self._switches)
        members, unusable = await self._repair.containers(only)
        wanted = await self._wanted()
        if only is None and not any(self._queue.idle(one) for one in wanted):
            # Nothing is known, or only what is being deployed right now.
            idle = {one: members[one] for one in members if self._queue.idle(one)}
            await self._repair.adopt_all(idle)
            wanted = await self._wanted()
        active = {
            row.app: row for row in await self._database.run(rows.active_deployments)
        }
        self._complain(unusable)
        names = {*members, *wanted, *self._serving} if only is None else {only}
        names -= {
            name
            for name, count in self._switches.items()
            if switches.get(name) != count
        }
        for name in names:
            found = members.get(name, ())
            self._serving[name] = self._who(
                name, found, wanted.get(name), active.get(name)
            )
            if needs_repair(
                found,
                wanted.get(name),
                active.get(name),
                self._aftercare.draining,
                self._repair.hangs,
            ):
                self._begin_repair(name)
        if only is None:
            self._seen_all = True
            self._serving = {name: apps for name, apps in self._serving.items() if apps}
        self._retire_lost(before, members)
        told = [app for name in sorted(self._serving) for app in self._serving[name]]
        self._discovered(tuple(told))

    async def _wanted(self) -> dict[AppName, AppRow]:
        return {row.name: row for row in await self._database.run(all_apps)}

    def _replicas(self, only: AppName | None) -> list[Replica]:
        """Return who was told to serve, of one app or of all."""
        return [
            one
            for name, apps in self._serving.items()
            if only in (None, name)
            for app in apps
            for one in app.replicas
        ]

    def _who(
        self,
        name: AppName,
        members: tuple[Found, ...],
        wanted: AppRow | None,
        active: DeploymentRow | None,
    ) -> tuple[App, ...]:
        """Return who ought to serve an app now."""
        progress = self._progress(name)
        if progress is not None:
            return progress.serving(members)
        if wanted is None:
            return self._manual(members)
        if wanted.stopped or active is None:
            return ()
        app = describe(members, wanted.active)
        return () if app is None else (_running_only(app),)

    def _manual(self, members: tuple[Found, ...]) -> tuple[App, ...]:
        """Return an app of containers that others made: the last started id serves."""
        usable = []
        for one in members:
            problem = port_problem(one.container, one.labels.port)
            if problem:
                self._complain((Unusable(one.container.name, one.labels.app, problem),))
            elif not one.ours:
                usable.append(one)
        newest = newest_started(tuple(usable))
        app = None if newest is None else describe(tuple(usable), newest)
        return () if app is None else (_running_only(app),)

    def _retire_lost(
        self, before: dict[str, Replica], members: dict[AppName, tuple[Found, ...]]
    ) -> None:
        """Take what served and runs no longer out of the routes: events get lost."""
        running = {
            one.container.id
            for found in members.values()
            for one in found
            if one.running
        }
        lost = tuple(one for key, one in before.items() if key not in running)
        if lost:
            self._tasks.start("retiring what is gone", self._retire(lost))

    async def _retire(self, lost: tuple[Replica, ...]) -> None:
        await self._traffic.retire(lost)

    def _complain(self, unusable: tuple[Unusable, ...]) -> None:
        for one in unusable:
            key = f"{one.name}: {one.reason}"
            if key not in self._told:
                self._told.add(key)
                self._log.warn(
                    "container {container} of app {app} is not routed: {reason}",
                    container=one.name,
                    app=one.app,
                    reason=one.reason,
                )

    # --- repairs --------------------------------------------------------------------

    def _begin_repair(self, app: AppName) -> None:
        if app not in self._repairing:
            self._repairing.add(app)
            self._tasks.start(f"repairing {app}", self._do_repair(app))

    async def _do_repair(self, app: AppName) -> None:
        again_s: float | None = None

        async def repair() -> None:
            nonlocal again_s
            again_s = await self._repair.repair(app)

        try:
            await self._queue.if_idle(app, repair)
        except HaloyError as problem:
            self._log.warn(
                "app {app} cannot be repaired now: {problem}",
                app=app,
                problem=str(problem),
            )
        finally:
            self._repairing.discard(app)
        if again_s is not None:
            self._poke_in(again_s, app)

    def _poke_in(self, delay_s: float, app: AppName | None) -> None:
        """Look as L{poke} does after a wait; of several waits the last one counts."""
        earlier = self._later.pop(app, None)
        if earlier is not None:
            earlier.cancel()
        if delay_s <= 0:
            self.poke(app)
        elif self._loop is not None:
            self._later[app] = self._reactor.callLater(delay_s, self._poke_now, app)

    def _poke_now(self, app: AppName | None) -> None:
        del self._later[app]
        self.poke(app)


def _running_only(app: App) -> App:
    running = tuple(one for one in app.replicas if one.running)
    return evolve(app, replicas=running)
