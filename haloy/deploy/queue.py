"""One queue an app: one thing is done at a time, at most one deployment waits.

A newer deployment takes the place of the one that waits (it is superseded) and
waits for the one that runs. Apps do not wait for each other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from attrs import define, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from haloy.model.names import AppName, DeploymentId
from haloy.tasks import Tasks


@define(eq=False)
class DeployQueue:
    """Calls C{carry_out(app, id)} for one deployment of an app at a time.

    @ivar _superseded: called with app, the id that never ran, and why.
    """

    _carry_out: Callable[[AppName, DeploymentId], Awaitable[None]]
    _superseded: Callable[[AppName, DeploymentId, str], Awaitable[None]]
    _log: Logger = field(factory=Logger, init=False)
    _turns: dict[AppName, DeferredLock] = field(factory=dict, init=False)
    _waiting: dict[AppName, DeploymentId] = field(factory=dict, init=False)
    _running: dict[AppName, DeploymentId] = field(factory=dict, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own the deployments."""
        self._tasks = Tasks(self._log)

    async def put(self, app: AppName, identifier: DeploymentId) -> None:
        """Queue a deployment; it begins at once when nothing is done with its app."""
        replaced = self._waiting.get(app)
        self._waiting[app] = identifier
        self._tasks.start(
            f"deployment {identifier} of {app}", self._run(app, identifier)
        )
        if replaced is not None:
            reason = f"deployment {identifier} came before this one began"
            await self._superseded(app, replaced, reason)

    def ahead(self, app: AppName) -> str:
        """Return what a deployment of C{app} would wait for, C{""}: nothing."""
        if not self._turn(app).locked:
            return ""
        running = self._running.get(app)
        return f"deployment {running}" if running else "other work on its containers"

    async def drop(self, app: AppName, reason: str) -> None:
        """Let the deployment that waits, if one does, never run."""
        dropped = self._waiting.pop(app, None)
        if dropped is not None:
            await self._superseded(app, dropped, reason)

    def cancel(self, app: AppName, identifier: DeploymentId) -> bool:
        """Let this deployment never run; return whether it was the one that waits."""
        if self._waiting.get(app) != identifier:
            return False
        del self._waiting[app]
        return True

    async def alone(self, app: AppName, doing: Callable[[], Awaitable[None]]) -> None:
        """Do something with C{app} when it is its turn."""
        turn = self._turn(app)
        await turn.acquire()
        try:
            await doing()
        finally:
            turn.release()

    def idle(self, app: AppName) -> bool:
        """Return whether nothing is done with C{app} and nothing waits."""
        return not self._turn(app).locked and app not in self._waiting

    async def if_idle(self, app: AppName, doing: Callable[[], Awaitable[None]]) -> bool:
        """Do something with C{app} if nothing else is; return whether."""
        if not self.idle(app):
            return False
        await self.alone(app, doing)
        return True

    async def stop(self) -> Mapping[AppName, DeploymentId]:
        """Cancel what runs, let nothing else begin, and wait.

        @return: what waited, and never began.
        """
        waiting, self._waiting = self._waiting, {}
        await self._tasks.stop()
        return waiting

    def _turn(self, app: AppName) -> DeferredLock:
        return self._turns.setdefault(app, DeferredLock())

    async def _run(self, app: AppName, identifier: DeploymentId) -> None:
        async def deploy() -> None:
            if self._waiting.get(app) == identifier:
                del self._waiting[app]
                self._running[app] = identifier
                try:
                    await self._carry_out(app, identifier)
                finally:
                    del self._running[app]

        await self.alone(app, deploy)
