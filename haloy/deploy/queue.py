"""One queue an app: one deployment runs, at most one waits.

A newer request takes the place of the one that waits (it is superseded) and waits
for the one that runs. Apps do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from haloy.model.names import AppName, DeploymentId
from haloy.tasks import Tasks


@define(eq=False)
class DeployQueue:
    """Calls C{carry_out(app, id)} for one deployment of an app at a time.

    @ivar _superseded: called with app, the id that never ran, and the newer id.
    """

    _carry_out: Callable[[AppName, DeploymentId], Awaitable[None]]
    _superseded: Callable[[AppName, DeploymentId, DeploymentId], Awaitable[None]]
    _log: Logger = field(factory=Logger, init=False)
    _running: dict[AppName, DeploymentId] = field(factory=dict, init=False)
    _waiting: dict[AppName, DeploymentId] = field(factory=dict, init=False)
    _idle: list[tuple[AppName, Deferred[None]]] = field(factory=list, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own the deployments."""
        self._tasks = Tasks(self._log)

    def busy(self, app: AppName) -> bool:
        """Return whether a deployment of C{app} runs."""
        return app in self._running

    def running(self) -> dict[AppName, DeploymentId]:
        """Return what runs now."""
        return dict(self._running)

    async def put(self, app: AppName, identifier: DeploymentId) -> None:
        """Queue a deployment; it begins at once when none of its app runs."""
        replaced = self._waiting.get(app)
        self._waiting[app] = identifier
        if replaced is not None:
            await self._superseded(app, replaced, identifier)
        if app not in self._running:
            self._next(app)

    async def until_idle(self, app: AppName) -> None:
        """Return when nothing of C{app} runs."""
        if app in self._running:
            waiter: Deferred[None] = Deferred()
            self._idle.append((app, waiter))
            await waiter

    async def stop(self) -> None:
        """Cancel what runs and wait until it has cleaned up."""
        self._waiting.clear()
        await self._tasks.stop()

    def _next(self, app: AppName) -> None:
        identifier = self._waiting.pop(app, None)
        if identifier is None:
            return
        self._running[app] = identifier
        self._tasks.start(
            f"deployment {identifier} of {app}", self._run(app, identifier)
        )

    async def _run(self, app: AppName, identifier: DeploymentId) -> None:
        try:
            await self._carry_out(app, identifier)
        finally:
            del self._running[app]
            waiting = [one for name, one in self._idle if name == app]
            self._idle = [one for one in self._idle if one[0] != app]
            for one in waiting:
                one.callback(None)
            if app not in self._running:
                self._next(app)
