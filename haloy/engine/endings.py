"""How containers ended, remembered from Docker's events. Pure.

An inspect forgets it: once Docker has started a container again its exit code is 0,
and C{OOMKilled} is false; and it is false now and then right after the kernel has
killed for want of memory, when the control group was gone before Docker looked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import define, evolve, field, frozen

from haloy.engine.interface import Container, EngineEvent

SIGKILLED = 137
#: How far an event and what an inspect says of the same end may be apart.
APART = timedelta(seconds=2)


@frozen
class Run:
    """One run of a container: what was done to it, and its end.

    @ivar oom: the kernel has killed in it for want of memory.
    @ivar killed: somebody has asked Docker for a SIGKILL.
    @ivar ended_at: C{None} while it runs.
    """

    oom: bool = False
    killed: bool = False
    exit_code: int = 0
    ended_at: datetime | None = None


@define(eq=False)
class Endings:
    """The present run of each container that has been heard of."""

    _runs: dict[str, Run] = field(factory=dict, init=False)

    def note(self, event: EngineEvent) -> None:
        """Take an event of a container's life; others do not matter."""
        key = event.container_id
        run = self._runs.get(key, Run())
        if run.ended_at is not None and not (
            # It is told a moment late at times.
            event.action == "oom" and event.at - run.ended_at < APART
        ):
            run = Run()
        if event.action == "oom":
            self._runs[key] = evolve(run, oom=True)
        elif event.action == "kill" and event.attributes.get("signal") in {"9", None}:
            self._runs[key] = evolve(run, killed=True)
        elif event.action == "die":
            code = _code(event.attributes)
            self._runs[key] = evolve(run, exit_code=code, ended_at=event.at)
        elif event.action == "destroy":
            self._runs.pop(key, None)

    def complete(self, container: Container) -> Container:
        """Return C{container} with how its last run ended, where that is known.

        SIGKILL that nobody asked Docker for, in a container with a limit, is the
        kernel's for want of memory.
        """
        run, ended_at = self._runs.get(container.id), container.finished_at
        if run is None or run.ended_at is None or ended_at is None:
            return container
        if abs(run.ended_at - ended_at) > APART:
            return container
        by_kernel = (
            run.exit_code == SIGKILLED
            and not run.killed
            and container.memory_limit_bytes > 0
        )
        return evolve(
            container,
            exit_code=run.exit_code,
            oom_killed=container.oom_killed or run.oom or by_kernel,
        )


def _code(attributes: Mapping[str, str]) -> int:
    text = attributes.get("exitCode", "")
    return int(text) if text.isdecimal() else 0
