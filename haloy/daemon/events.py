"""Docker's events: hints that something changed, passed on at once.

A death is acted upon immediately, because the address of a dead container may be
given to another one (E2, E3, E4); everything else only wakes reconciliation, which
looks at what is really there. The stream ends whenever Docker restarts: it is
taken up again with back-off, and everything is reconciled then, because events
were missed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from haloy.engine.interface import Engine, EngineEvent
from haloy.errors import HaloyError
from haloy.model.names import AppName
from haloy.tasks import Tasks

APP_LABEL = "dev.haloy.appName"

#: The container no longer answers at its address.
_DEATHS = frozenset({"die", "oom", "kill", "stop", "pause", "destroy"})
#: A container may have become fit to serve, or is another one now.
_CHANGES = _DEATHS | {"start", "restart", "unpause", "rename", "update"}

FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 5.0


class Reconciler(Protocol):
    """Who looks at what really runs."""

    def poke(self, app: AppName | None) -> None:
        """Look at C{app} soon, at everything when C{None}."""


@define(eq=False, slots=False)
class EventStream(Service):
    """Follows Docker's container events for as long as the service runs.

    @ivar _died: called with the id of a container that no longer answers.
    """

    _engine: Engine
    _reactor: IReactorTime
    _reconciler: Reconciler
    _died: Callable[[str], None]
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own the coroutine that follows."""
        self._tasks = Tasks(self._log)

    def startService(self) -> None:
        """Begin to follow."""
        super().startService()
        self._tasks.start("following Docker's events", self._follow())

    async def stopService(self) -> None:
        """End the stream."""
        super().stopService()
        await self._tasks.stop()

    async def _follow(self) -> None:
        retry_s = FIRST_RETRY_S
        while self.running:
            began = self._reactor.seconds()
            self._reconciler.poke(None)
            try:
                await self._engine.events({APP_LABEL: None}, self._receive)
                reason = "the stream ended"
            except HaloyError as problem:
                reason = str(problem)
            # A stream that lasted was a good one: begin the ladder anew.
            lasted = self._reactor.seconds() - began > LONGEST_RETRY_S
            retry_s = FIRST_RETRY_S if lasted else min(retry_s * 2, LONGEST_RETRY_S)
            self._log.warn(
                "Docker's events stopped ({reason}); following again in {wait} s",
                reason=reason,
                wait=retry_s,
            )
            await deferLater(self._reactor, retry_s)

    def _receive(self, event: EngineEvent) -> None:
        if event.is_network:
            self._tasks.start("looking whose network it was", self._moved(event))
            return
        action = event.action.partition(":")[0]
        if action in _DEATHS and not _survives(event):
            self._died(event.container_id)
        if action in _CHANGES or action == "health_status":
            name = event.attributes.get(APP_LABEL)
            self._reconciler.poke(None if name is None else AppName(name))

    async def _moved(self, event: EngineEvent) -> None:
        """Look at the app of a container that may have another address now (E2)."""
        try:
            container = await self._engine.container(event.container_id)
        except HaloyError:
            return
        name = container.labels.get(APP_LABEL)
        if name is not None:
            self._reconciler.poke(AppName(name))


def _survives(event: EngineEvent) -> bool:
    """Return whether a C{kill} event was a signal that need not end the process.

    Docker reports every signal it delivers as C{kill}: a SIGHUP for a reload must
    not take a healthy replica out. SIGTERM (15), SIGKILL (9), SIGINT (2) and
    SIGQUIT (3) are how containers are ended; C{die} follows for the others.
    """
    return event.action == "kill" and event.attributes.get("signal") not in {
        "2",
        "3",
        "9",
        "15",
        None,
    }
