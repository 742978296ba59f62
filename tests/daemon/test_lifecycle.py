"""In which order C{daemon.lifecycle} starts and stops, and what a failure does."""

from __future__ import annotations

import gc
from io import StringIO
from typing import Any, cast

from attrs import define, field
from twisted.application.service import Application, IService
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from haloy.daemon.lifecycle import Daemon, Part
from haloy.daemon.logs import ServerLog
from haloy.errors import Conflict
from haloy.observers import text_observer


@define(eq=False)
class Core:
    """The part of a reactor that ends a process."""

    stopped: bool = False
    triggers: list[tuple[str, str, Any]] = field(factory=list)

    def stop(self) -> None:
        self.stopped = True

    def callWhenRunning(self, call: Any) -> None:  # noqa: N802  (Twisted)
        call()

    def addSystemEventTrigger(self, phase: str, event: str, call: Any) -> None:  # noqa: N802  (Twisted)
        self.triggers.append((phase, event, call))


@define(eq=False)
class Scene:
    core: Core = field(factory=Core)
    done: list[str] = field(factory=list)
    announced: list[bool] = field(factory=list)
    observer: ILogObserver = field(factory=lambda: text_observer(StringIO(), False))

    def part(
        self, name: str, problem: Exception | None = None, stops: Any = None
    ) -> Part:
        async def start() -> None:
            self.done.append(f"start {name}")
            if problem is not None:
                raise problem

        async def stop() -> None:
            self.done.append(f"stop {name}")
            if stops is not None:
                raise stops

        return Part(name, start, stop)

    def daemon(self, *parts: Part) -> Daemon:
        return Daemon(
            cast(Any, self.core),
            parts,
            self.observer,
            ServerLog(),
            lambda: self.announced.append(True),
        )


def test_parts_start_in_order_and_stop_in_reverse() -> None:
    """What is needed is there before what needs it."""
    scene = Scene()
    daemon = scene.daemon(scene.part("a"), scene.part("b"))
    daemon.startService()
    assert (daemon.ready, scene.announced) == (True, [True])
    Deferred.fromCoroutine(daemon.stopService())
    assert scene.done == ["start a", "start b", "stop b", "stop a"]
    assert not daemon.ready


def test_what_has_started_is_no_garbage_to_look_for() -> None:
    """A look through all of haloyd holds up whoever is served by the proxy in it."""
    gc.unfreeze()
    looked_through = len(gc.get_objects())
    Scene().daemon().startService()
    assert len(gc.get_objects()) < looked_through / 10


def test_part_that_fails_ends_the_process(logged_failures: list[Failure]) -> None:
    """No failure looks like a success: what had started stops, exit code 1."""
    scene = Scene()
    daemon = scene.daemon(
        scene.part("a"), scene.part("b", OSError("port 80 is taken")), scene.part("c")
    )
    daemon.startService()
    assert scene.core.stopped
    assert [one[:2] for one in scene.core.triggers] == [("after", "shutdown")]
    assert (daemon.ready, scene.announced) == (False, [])
    Deferred.fromCoroutine(daemon.stopService())
    assert scene.done == ["start a", "start b", "stop a"]
    assert len(logged_failures) == 1
    logged_failures.clear()


def test_a_reason_that_people_can_act_on_comes_without_a_traceback() -> None:
    """What ends a start as foreseen is one line, not a place in the source."""
    scene = Scene()
    daemon = scene.daemon(scene.part("b", Conflict("port 80 is in use")))
    daemon.startService()  # and no failure was logged: conftest looks
    assert scene.core.stopped
    Deferred.fromCoroutine(daemon.stopService())


def test_part_that_does_not_stop_holds_up_nobody(
    logged_failures: list[Failure],
) -> None:
    """The others are stopped all the same."""
    scene = Scene()
    daemon = scene.daemon(scene.part("a"), scene.part("b", stops=ValueError("stuck")))
    daemon.startService()
    Deferred.fromCoroutine(daemon.stopService())
    assert scene.done[-2:] == ["stop b", "stop a"]
    assert len(logged_failures) == 1
    logged_failures.clear()


def test_application_logs_as_we_want() -> None:
    """Twistd asks the application where to log before logging begins."""
    scene = Scene()
    application = Application("haloyd")
    scene.daemon().setServiceParent(cast(IService, application))
    assert cast(Componentized, application).getComponent(ILogObserver) is scene.observer
