"""The daemon as one service: parts start in an order, and stop in the reverse.

A part is started by a coroutine that returns when the part is of use; one that
fails ends the daemon with exit code 1 and one line that says why.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable

from attrs import define, field, frozen
from twisted.application.service import IService, MultiService
from twisted.internet.interfaces import IReactorCore
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized

from haloy.errors import HaloyError
from haloy.garbage import keep_what_is_here
from haloy.tasks import Tasks


@frozen
class Part:
    """One part of the daemon; C{name} completes "starting …"."""

    name: str
    start: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]


@define(eq=False, slots=False)
class Daemon(MultiService):
    """Starts its parts in order and announces when all of them are of use.

    @ivar ready: whether every part has started.
    @ivar _observer: where log lines go, unless twistd was told C{--logger}.
    """

    _reactor: IReactorCore
    _parts: tuple[Part, ...]
    _observer: ILogObserver
    _server_log: ILogObserver
    _ready: Callable[[], None]
    ready: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _started: list[Part] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Become a service without children."""
        MultiService.__init__(self)
        self._tasks = Tasks(self._log)

    def setServiceParent(self, parent: IService) -> None:
        """Join the application, and choose how it logs before logging begins."""
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)
        super().setServiceParent(parent)

    def startService(self) -> None:
        """Begin to start the parts."""
        super().startService()
        globalLogPublisher.addObserver(self._server_log)
        self._tasks.start("starting", self._start())

    async def stopService(self) -> None:
        """Stop what has started, last first; then everything else."""
        await self._tasks.stop()
        self.ready = False
        while self._started:
            part = self._started.pop()
            try:
                await part.stop()
            except Exception:  # the others must be stopped all the same
                self._log.failure("stopping {part} failed", part=part.name)
        globalLogPublisher.removeObserver(self._server_log)
        await super().stopService()

    async def _start(self) -> None:
        for part in self._parts:
            try:
                await part.start()
            except HaloyError as problem:  # its text is all that a person needs
                self._give_up(f"starting {part.name} failed: {problem}")
                return
            except Exception as problem:  # whatever it is, it must be told and end us
                self._log.failure("starting {part} failed", part=part.name)
                self._give_up(f"starting {part.name} failed: {problem}")
                return
            self._started.append(part)
        self.ready = True
        keep_what_is_here()
        self._ready()

    def _give_up(self, reason: str) -> None:
        """End the process with exit code 1: twistd itself would end with 0."""

        def leave() -> None:
            sys.__stderr__.write(f"haloyd: {reason}\n") if sys.__stderr__ else None
            os._exit(1)

        self._reactor.addSystemEventTrigger("after", "shutdown", leave)
        # twistd starts services before the reactor, which cannot be stopped until then.
        self._reactor.callWhenRunning(self._reactor.stop)
