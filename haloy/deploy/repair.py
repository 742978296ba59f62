"""Brings one app to what it should be.

Runs when it is the app's turn, never beside a deployment of it, and looks at
everything anew: events and earlier looks are hints. Only containers of ours are
touched, each by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from haloy.config.app_file import Target
from haloy.deploy.aftercare import Aftercare
from haloy.deploy.containers import container_spec, replica_count
from haloy.deploy.discovery import Found, Unusable, by_app, discover
from haloy.deploy.instances import only_others
from haloy.deploy.interface import Traffic
from haloy.deploy.ladder import Ladder
from haloy.deploy.networks import is_cut_off, start
from haloy.deploy.situation import Situation, adoptable, is_lost, target_of
from haloy.engine.interface import Engine
from haloy.errors import NotFound
from haloy.model.app import Assessment, Verdict
from haloy.model.labels import APP
from haloy.model.names import DEFAULT_NETWORK, AppName, DeploymentId
from haloy.proxy.interface import DrainLimits
from haloy.store import deployments as rows
from haloy.store.apps import adopt, find_app
from haloy.store.database import Database
from haloy.store.deployments import DeploymentRow
from haloy.store.replicas import (
    add_replica,
    forget_replicas,
    rename_replica,
    replicas_of,
    set_container,
)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 300.0
#: Between two replacements of one replica that hangs.
HUNG_FIRST_S = 60.0
HUNG_LONGEST_S = 3600.0
HISTORY = 200

Assess = Callable[[str], Assessment | None]


@define(eq=False)
class Repair:
    """Clears leftovers, starts and creates what is missing, replaces what hangs."""

    _engine: Engine
    _database: Database
    _traffic: Traffic
    _aftercare: Aftercare
    _clock: IReactorTime
    _now: Callable[[], datetime]
    _assess: Assess
    _hung_after_s: Callable[[], float]
    _instance: str = ""
    _told: str = field(default="", init=False)
    _log: Logger = field(factory=Logger, init=False)
    _down: Ladder = field(factory=lambda: Ladder(FIRST_RETRY_S, LONGEST_RETRY_S))
    _hung: Ladder = field(factory=lambda: Ladder(HUNG_FIRST_S, HUNG_LONGEST_S))

    async def containers(
        self, app: AppName | None = None
    ) -> tuple[dict[AppName, tuple[Found, ...]], tuple[Unusable, ...]]:
        """Return the containers of every app, or of one, as they are now."""
        known = await self._database.run(rows.taken_over_ids)
        listed = await self._engine.containers({APP: app})
        if app is None:
            self._tell_of_others(only_others(listed, self._instance))
        found, unusable = discover(listed, known, self._instance)
        return by_app(found), unusable

    def _tell_of_others(self, problem: str) -> None:
        """Say C{problem} once, and again when it is another one."""
        if problem and problem != self._told:
            self._log.error("{problem}", problem=problem)
        self._told = problem

    async def situation(self, app: AppName) -> Situation:
        """Return all about C{app}."""
        members, _ = await self.containers(app)
        return await self._recorded(app, members.get(app, ()))

    async def _recorded(
        self, app: AppName, members: tuple[Found, ...], adopted: bool = False
    ) -> Situation:
        wanted = await self._database.run(find_app, app)
        history = await self._database.run(rows.deployments_of, app, HISTORY)
        return Situation(members, wanted, tuple(history), adopted)

    async def adopt_all(self, members: Mapping[AppName, tuple[Found, ...]]) -> None:
        """Take over all of C{members} at once: the database knows no app.

        It is new, or was lost; L{settle} does the same for one app in its turn.
        """
        found = []
        for app, some in members.items():
            history = await self._database.run(rows.deployments_of, app, HISTORY)
            chosen = adoptable(Situation(some, None, tuple(history)))
            if chosen is not None:
                found.append((app, *chosen))
        await self._adopt(found)

    async def settle(self, app: AppName) -> Situation:
        """Remove what dead deployments left, take over what runs without a row."""
        now = await self.situation(app)
        dead = [
            one for one in now.ours if now.state_of(one.labels.deployment) in rows.DEAD
        ]
        for one in dead:
            await self._remove_dead(one)
        if dead:
            now = await self.situation(app)
        chosen = adoptable(now) if now.wanted is None else None
        if chosen is not None:
            await self._adopt([(app, *chosen)])
            now = await self._recorded(app, now.members, adopted=True)
        return now

    async def repair(self, app: AppName) -> float | None:
        """Do what can be done for C{app} now.

        @return: after how many seconds to look again: at once when anything
            changed, later when something waits for its next try.
        """
        now = await self.settle(app)
        if now.wanted is None or now.wanted.stopped or now.active is None:
            return None
        self._clear_leftovers(now)
        again_s = await self._complete(now, now.active)
        replaced = await self._replace_hung(now, now.active)
        await self._end_draining(now, now.active)
        return 0.0 if now.adopted or replaced else again_s

    # --- leftovers ----------------------------------------------------------------

    async def _remove_dead(self, one: Found) -> None:
        """Remove a container of a deployment that never went live (E5, E6).

        A proxy of its own may have sent requests there until now: they get their
        time. Tunnels do not: whoever repairs the app waits for this.
        """
        self._log.info(
            "removing {container} of {app}: deployment {deployment} did not go live",
            container=one.container.name,
            app=one.labels.app,
            deployment=one.labels.deployment,
        )
        await self._traffic.retire((one.replica,))
        limits = DrainLimits(one.labels.proxy.drain_requests_s, 0)
        await self._traffic.drained((one.replica,), limits)
        await self._engine.remove(one.container.id)
        await self._database.run(forget_replicas, [one.container.id])

    def _clear_leftovers(self, now: Situation) -> None:
        """Let go what has served before, once somebody of the live one runs.

        What was draining before a restart drains on by its own limits. Containers
        of a Go daemon, and those of deployments that the database does not know (it
        may be another haloyd's), stay.
        """
        active = now.active
        if active is None or not any(
            one.running and one.labels.deployment == active.id for one in now.members
        ):
            return
        for one in now.members:
            known = now.state_of(one.labels.deployment) in rows.SERVED
            if one.labels.managed and known and one.labels.deployment != active.id:
                proxy = one.labels.proxy
                limits = DrainLimits(proxy.drain_requests_s, proxy.drain_tunnels_s)
                self._aftercare.begin((one.replica,), limits)

    async def _end_draining(self, now: Situation, active: DeploymentRow) -> None:
        """Call the live deployment live when its predecessor is gone."""
        left = [one for one in now.ours if one.labels.deployment != active.id]
        if active.state == "draining" and not left:
            await self._database.run(rows.set_state, active.app, active.id, "live")

    async def _adopt(self, found: Iterable[tuple[AppName, DeploymentId, str]]) -> None:
        """Let what runs be what should run: apps, their deployments and images."""
        found = tuple(found)
        for app, chosen, _ in found:
            self._log.info(
                "app {app} is taken over as it runs: deployment {deployment}",
                app=app,
                deployment=chosen,
            )
        await self._database.run(adopt, found, self._now())

    # --- what is missing -------------------------------------------------------------

    async def _complete(self, now: Situation, active: DeploymentRow) -> float | None:
        """Start what is down and create what is gone of a live deployment (D3, E3).

        @return: as L{repair} does.
        """
        target = target_of(active)
        draining = await self._draining(active.app)
        present = {
            one.replica.number: one
            for one in now.ours
            if one.labels.deployment == active.id and one.container.id not in draining
        }
        count = replica_count(target) if target is not None else 0
        again_s: list[float] = []
        for number in sorted({*present, *range(1, count + 1)}):
            one = present.get(number)
            if one is not None and not is_lost(one):
                continue
            key = f"{active.app}/{active.id}/{number}"
            again_s.append(self._down.wait_s(key, self._clock.seconds()))
            if self._down.may_try(key, self._clock.seconds()):
                if one is not None:
                    await self._start(one)
                elif target is not None:
                    await self._create(active, target, number)
        return min(again_s, default=None)

    async def _draining(self, app: AppName) -> set[str]:
        found = await self._database.run(replicas_of, app)
        return {row.container_id for row in found if row.draining}

    async def _start(self, one: Found) -> None:
        self._log.info(
            "starting {container} again; it is {state}, its last exit code {code}",
            container=one.container.name,
            state="on no network" if is_cut_off(one) else one.container.state.value,
            code=one.container.exit_code,
        )
        if one.container.name == one.aside:  # a crash came between two names
            await self._engine.rename(one.container.id, one.labels.app)
            await self._database.run(rename_replica, one.aside, one.labels.app)
        await start(self._engine, one)

    async def _create(self, active: DeploymentRow, target: Target, number: int) -> None:
        """Create a replica that is gone, from what its deployment says."""
        spec = container_spec(
            target, active.id, number, active.image_ref, self._instance
        )
        self._log.info("creating {container}, which is gone", container=spec.name)
        await self._database.run(add_replica, spec.name, active.app, active.id, number)
        if spec.network == DEFAULT_NETWORK:
            await self._engine.ensure_network(spec.network)
        try:
            container = await self._engine.create(spec)
        except NotFound:
            # The tag may be gone while the image is still here.
            container = await self._engine.create(evolve(spec, image=active.image_id))
        await self._database.run(set_container, spec.name, container)
        await self._engine.start(container)

    # --- what hangs -----------------------------------------------------------------

    def hangs(self, one: Found) -> bool:
        """Return whether C{one} runs and has been unhealthy for too long."""
        assessment = self._assess(one.container.id)
        return (
            one.running
            and assessment is not None
            and assessment.verdict is Verdict.UNHEALTHY
            and self._now() - assessment.since
            >= timedelta(seconds=self._hung_after_s())
        )

    async def _replace_hung(self, now: Situation, active: DeploymentRow) -> bool:
        """Replace one replica that runs and has not answered for a long time.

        One in a look: when all fail for a common cause, replacing all at once would
        only make it worse.
        """
        for one in now.ours:
            if one.labels.deployment != active.id or not self.hangs(one):
                continue
            key = f"{active.app}/{active.id}/{one.replica.number}"
            if not self._hung.may_try(key, self._clock.seconds()):
                continue
            self._log.warn(
                "replacing {container} of {app}: it does not answer",
                container=one.container.name,
                app=active.app,
            )
            await self._traffic.retire((one.replica,))
            await self._engine.stop(one.container.id, 10)
            target = target_of(active)
            if target is None:
                await self._engine.start(one.container.id)
            else:
                await self._engine.remove(one.container.id)
                await self._create(active, target, one.replica.number)
            return True
        return False
