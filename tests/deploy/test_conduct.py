"""From the queue to the end marker, whatever happens in between."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from tests.deploy.world import ONE, THREE, TWO, World


async def test_queue(server: World) -> None:
    """The second waits, the third takes its place, all three get a marker (D7, A3)."""
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{ONE}"] = gate
    await server.submit(ONE)
    await server.settled(lambda: f"shop-{ONE}" in server.readiness.asked)
    await server.submit(TWO)
    await server.submit(THREE)
    superseded = await server.end_of(TWO)
    assert (superseded.failed, superseded.fields["code"]) == (True, "superseded")
    gate.callback(None)
    assert not (await server.end_of(ONE)).failed
    assert not (await server.end_of(THREE)).failed
    assert f"create shop-{TWO}" not in server.engine.calls


@pytest.mark.parametrize("strategy", ["rolling", "blue_green", "replace", "static"])
@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("at", range(1, 11))
async def test_kill_anywhere(
    tmp_path: Path, reactor: Any, strategy: str, done: bool, at: int
) -> None:
    """One version serves after kill -9 in any call of a deploy (D12, E5, E6).

    It is whole, nothing else is left, the log has its end, the next deploy works.
    """
    values: dict[str, Any] = {"deployment_strategy": strategy, "replicas": 2}
    if strategy == "static":
        values = {
            "deployment_strategy": "replace",
            "naming_strategy": "static",
            "replicas": 1,
        }
    killed = World(tmp_path, reactor)
    killed.engine.have_image("shop:latest", image_id="sha256:one")
    await killed.begin()
    await killed.service.start()
    await killed.deploy(ONE, **values)
    killed.seam.crash_at, killed.seam.crash_done = killed.seam.changes + at, done
    await killed.submit(TWO, **values)
    # A deploy of fewer changes is killed when all was done.
    with suppress(AssertionError):
        await killed.settled(lambda: killed.seam.dead, 0.3)
    after = await killed.die()
    try:
        await after.service.start()
        end = await after.end_of(TWO)
        await after.rest()
        assert await after.versions() == ({ONE} if end.failed else {TWO})
        assert len(await after.running()) == values["replicas"]
        assert [len(app.replicas) for app in after.reported[-1]] == [values["replicas"]]
        final = await after.deploy(THREE, **values)
        assert not final.failed
        await after.rest()
        assert await after.versions() == {THREE}
    finally:
        await after.service.stop()
        await after.database.close()
