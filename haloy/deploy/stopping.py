"""Stops an app on purpose: routes, then containers, then what else was asked for."""

from __future__ import annotations

from attrs import define, field
from twisted.logger import Logger

from haloy.deploy.discovery import Found
from haloy.deploy.progress import Tools, together
from haloy.deploy.situation import Situation
from haloy.errors import EngineError, EngineUnavailable, HaloyError, NotFound
from haloy.model.labels import APP
from haloy.model.names import AppName
from haloy.proxy.interface import DrainLimits
from haloy.store import deployments as rows
from haloy.store.apps import set_stopped
from haloy.store.replicas import forget_replicas

#: Somebody waits for a stop: requests get a moment, tunnels none.
LIMITS = DrainLimits(requests_s=5, tunnels_s=0)


@define(eq=False)
class Stopping:
    """Stops the containers of one app that are ours, each by its id."""

    _tools: Tools
    _app: AppName
    _log: Logger = field(factory=Logger, init=False)
    _failed: list[tuple[str, HaloyError]] = field(factory=list, init=False)

    async def stop(self, now: Situation, remove: bool, remove_volumes: bool) -> None:
        """Stop what C{now} shows; one that fails keeps no other from being stopped.

        @raise EngineError: names what still runs or stays, and why (A13).
        """
        await self._tools.database.run(set_stopped, self._app)
        await self._tools.traffic.forget(self._app)
        await together([self._stop_one(one, remove) for one in now.ours])
        if remove and remove_volumes:
            await self._remove_volumes()
        if self._failed:
            away = any(isinstance(one, EngineUnavailable) for _, one in self._failed)
            kind = EngineUnavailable if away else EngineError
            raise kind("; ".join(f"{what}: {why}" for what, why in self._failed))
        await self._tools.database.run(rows.end_draining, self._app)
        self._log.info(
            "app {app} was stopped ({count} containers)",
            app=self._app,
            count=len(now.ours),
        )

    async def _stop_one(self, one: Found, remove: bool) -> None:
        container = one.container.id
        try:
            await self._tools.traffic.drained((one.replica,), LIMITS)
            await self._tools.engine.stop(container, self._tools.stop_grace_s)
            if remove:
                await self._tools.engine.remove(container)
                await self._tools.database.run(forget_replicas, [container])
        except NotFound:
            return
        except HaloyError as problem:
            self._failed.append((f"{one.container.name} could not be stopped", problem))

    async def _remove_volumes(self) -> None:
        for name in await self._tools.engine.volumes({APP: self._app}):
            try:
                await self._tools.engine.remove_volume(name)
            except HaloyError as problem:
                self._failed.append((f"volume {name} stays", problem))
