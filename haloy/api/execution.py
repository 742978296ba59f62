"""Running a command in an app's containers (C{spec/api.md} 4.20)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from haloy.api.answers import told
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.tasks import gathered

LIMIT_S = 60.0
OUTPUT_LIMIT_BYTES = 4 << 20


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
    result: dict[str, Any] = {"containerId": container[:12]}
    try:
        done = await engine.exec(container, command, LIMIT_S, OUTPUT_LIMIT_BYTES)
    except HaloyError as problem:
        return {
            **result,
            "exitCode": -1,
            "stdout": "",
            "stderr": "",
            "error": told(problem),
        }
    result |= {
        "exitCode": done.exit_code,
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
    }
    if done.truncated:
        result["error"] = f"output beyond {OUTPUT_LIMIT_BYTES >> 20} MiB was cut"
    return result
