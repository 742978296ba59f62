"""Running a command in an app's containers (C{spec/api.md} 4.20)."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList

from haloy.api.answers import told
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.tasks import gathered

LIMIT_S = 60.0
OUTPUT_LIMIT_BYTES = 4 << 20
#: What the client of a command hears when haloyd ends: Docker would let it go on.
STOPPED = "haloyd is being stopped, so the command was killed"


@define(eq=False)
class Executions:
    """Commands under way, which must not outlive haloyd."""

    _engine: Engine
    _running: set[Deferred[Any]] = field(factory=set, init=False)
    _stopped: bool = field(default=False, init=False)

    async def execute(
        self, containers: list[str], command: tuple[str, ...]
    ) -> list[dict[str, Any]]:
        """Run it as L{execute}, at most until haloyd is stopped."""
        running = Deferred.fromCoroutine(execute(self._engine, containers, command))
        self._running.add(running)
        try:
            return await running
        except CancelledError:
            if self._stopped:
                return [_failed(container, STOPPED) for container in containers]
            raise
        finally:
            self._running.discard(running)

    async def stop(self) -> None:
        """Kill what still runs; return when that is done."""
        self._stopped = True
        left = tuple(self._running)
        ended: Any = DeferredList(left)
        for running in left:
            running.cancel()
        await ended


async def execute(
    engine: Engine, containers: list[str], command: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Return the result of C{command} in each container, all at once.

    Output beyond the limit is cut and told; a command that does not end is killed.
    Cancelling kills all of them (A9).
    """
    running = [
        Deferred.fromCoroutine(_one(engine, container, command))
        for container in containers
    ]
    return await gathered(running)


async def _one(
    engine: Engine, container: str, command: tuple[str, ...]
) -> dict[str, Any]:
    try:
        done = await engine.exec(container, command, LIMIT_S, OUTPUT_LIMIT_BYTES)
    except HaloyError as problem:
        return _failed(container, told(problem))
    result: dict[str, Any] = {
        "containerId": container[:12],
        "exitCode": done.exit_code,
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
    }
    if done.truncated:
        result["error"] = f"output beyond {OUTPUT_LIMIT_BYTES >> 20} MiB was cut"
    return result


def _failed(container: str, why: str) -> dict[str, Any]:
    """Return the result of a command that has no exit code."""
    return {
        "containerId": container[:12],
        "exitCode": -1,
        "stdout": "",
        "stderr": "",
        "error": why,
    }
