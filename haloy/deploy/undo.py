"""The way back after a failed step: the old version serves, nothing new is left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from attrs import define, evolve, field
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from haloy.config.options import health_timeout_s
from haloy.deploy.discovery import Found
from haloy.deploy.images import deployment_tag, keeps_history
from haloy.deploy.progress import Progress, Tools
from haloy.errors import EngineUnavailable, HaloyError, NotFound
from haloy.model.app import Replica
from haloy.model.labels import APP, DEPLOYMENT
from haloy.model.names import DEFAULT_NETWORK
from haloy.proxy.interface import DrainLimits
from haloy.store.replicas import forget_announced, forget_replicas, rename_replica

PING_LIMIT_S = 3.0


async def undo(tools: Tools, progress: Progress, doubt: bool = False) -> None:
    """Undo what C{progress} has done; what fails on the way is logged, not raised.

    @param doubt: Docker has just not answered. If it is away, only traffic goes
        back, so that the failure is told now and not after many calls that wait for
        nothing; the rest is done by C{deploy.repair} when Docker is back.
    """
    away = doubt and not await _answers(tools)
    await _Undo(tools, progress, away).all()


async def _answers(tools: Tools) -> bool:
    asking = Deferred.fromCoroutine(tools.engine.ping())
    asking.addTimeout(PING_LIMIT_S, tools.clock)
    try:
        await asking
    except (HaloyError, defer.TimeoutError):
        return False
    return True


@define(eq=False)
class _Undo:
    """Steps of the way back, in their order."""

    _tools: Tools
    _now: Progress
    _away: bool
    _log: Logger = field(factory=Logger, init=False)

    async def all(self) -> None:
        """Go back: those who still run serve first, the others when they can."""
        now = self._now
        served = tuple(
            one for one in now.new.values() if one.container_id in now.admitted
        )
        await self._try("going back to the old version", self._serve_running())
        await self._try("draining the new version", self._drain(served))
        await self._containers()
        if now.parked:
            await self._try("sending held requests on", self._unpark())
        await self._try("giving domains back", self._claim_back())
        if keeps_history(now.image) and not self._away:
            tag = deployment_tag(now.app.name, now.row.id)
            await self._try(f"removing {tag}", self._tools.engine.untag(tag))

    async def _containers(self) -> None:
        """Remove the new ones, start the old ones, as far as Docker answers."""
        now = self._now
        for name in sorted(now.announced):
            await self._ask(f"removing {name}", partial(self._remove, name))
        if not self._away:
            await self._try("forgetting what was never made", self._forget_announced())
        for found in now.old:
            if found.container.id in now.aside:
                await self._ask(
                    f"renaming {found.aside}",
                    partial(self._rename_back, found),
                )
        for stopping in now.stopping:
            if not self._away:
                await stopping
        for found in now.old:
            if found.container.id in now.stopped:
                await self._ask(
                    f"starting {found.container.name} again",
                    partial(self._start, found),
                )

    async def _ask(self, what: str, doing: Callable[[], Awaitable[None]]) -> None:
        """Do something with Docker, unless it is away."""
        if not self._away:
            await self._try(what, doing())

    async def _serve_running(self) -> None:
        """Take the new version out; in the same table the running old ones come in."""
        now = self._now
        new = tuple(one for one in now.new.values() if one.container_id in now.admitted)
        back = tuple(
            one.container.id
            for one in now.old
            if one.running
            and one.container.id not in now.stopped
            and one.container.id not in now.admitted
        )
        if not new and not back:
            return
        now.admitted = (now.admitted | set(back)) - {one.container_id for one in new}
        if now.old_app is not None and now.admitted:
            replicas = now.old_replicas(tuple(now.admitted))
            await self._tools.traffic.admit(now.old_app, replicas, new)
            return
        if now.old_app is not None and not now.parked:
            now.parked = True
            await self._tools.traffic.park(now.app.name, self._tools.park_limit_s)
        await self._tools.traffic.retire(new)

    async def _drain(self, served: tuple[Replica, ...]) -> None:
        """Let the new version finish what it was given before it failed."""
        if served:
            limits = DrainLimits(self._tools.drain_step_s, 0)
            await self._tools.traffic.drained(served, limits)

    async def _remove(self, name: str) -> None:
        """Remove a container by id, also one whose creation was never answered (E5)."""
        container = await self._tools.engine.container(name)
        labels = container.labels
        mine = (labels.get(APP), labels.get(DEPLOYMENT))
        if mine != (self._now.app.name, self._now.row.id):
            return
        await self._tools.engine.remove(container.id)
        await self._tools.database.run(forget_replicas, [container.id])

    async def _forget_announced(self) -> None:
        now = self._now
        await self._tools.database.run(forget_announced, now.app.name, now.row.id)

    async def _rename_back(self, found: Found) -> None:
        name = self._now.aside[found.container.id]
        await self._tools.engine.rename(found.container.id, name)
        await self._tools.database.run(rename_replica, found.aside, name)

    async def _start(self, found: Found) -> None:
        now, container = self._now, found.container.id
        await self._tools.engine.start(container)
        if now.old_app is None:
            return
        if now.old_app.domains:
            await self._tools.readiness.until_healthy(
                container,
                now.old_app.health,
                now.old_app.port,
                DEFAULT_NETWORK,
                health_timeout_s(now.target),
            )
        again = await self._tools.engine.container(container)
        now.admitted.add(container)
        replica = evolve(found, container=again).replica
        await self._tools.traffic.admit(now.old_app, (replica,))

    async def _unpark(self) -> None:
        await self._tools.traffic.unpark(self._now.app.name)
        self._now.parked = False

    async def _claim_back(self) -> None:
        old = self._now.old_app
        domains = () if old is None else old.domains
        await self._tools.traffic.claim(self._now.app.name, domains)

    async def _try(self, what: str, doing: Awaitable[None]) -> None:
        """Go on with the way back whatever happens on it; say what did not work."""
        try:
            await doing
        except NotFound:
            return
        except HaloyError as problem:
            self._away = self._away or isinstance(problem, EngineUnavailable)
            self._log.error(
                "{what} after a failed deployment of {app}: {problem}",
                what=what,
                app=self._now.app.name,
                problem=str(problem),
            )
