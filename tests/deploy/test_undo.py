"""What a failed deployment leaves: the old version, and nothing of its own."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from haloy.errors import (
    DeployFailed,
    EngineUnavailable,
    HaloyError,
    InsufficientStorage,
)
from tests.deploy.world import ONE, TWO, World


@pytest.mark.parametrize("strategy", ["rolling", "blue_green", "replace"])
@pytest.mark.parametrize("old", [1, 3])
@pytest.mark.parametrize("new", [1, 2, 3])
async def test_failure_leaves_the_old_version(
    server: World, strategy: str, old: int, new: int
) -> None:
    """The old version serves when the last new replica is not healthy (E7).

    Nothing is left of the new one, and with rolling and blue_green somebody has
    served all the time.
    """
    await server.deploy(ONE, deployment_strategy=strategy, replicas=old)
    before = await server.running()
    name = f"shop-{TWO}" if new == 1 else f"shop-{TWO}-r{new}"
    server.readiness.failing[name] = DeployFailed(
        "it exited with code 3", failure="exited", logs="boom"
    )
    server.traffic.tables.clear()
    end = await server.deploy(TWO, deployment_strategy=strategy, replicas=new)
    assert (end.complete, end.failed) == (True, True)
    assert end.fields["code"] == "exited"
    assert end.fields["logs"] == "\nboom"
    assert await server.running() == before
    assert [one.name for one in await server.containers()] == before
    assert {one.name for one in server.traffic.versions()} == set(before)
    if strategy != "replace":
        assert () not in server.traffic.tables


async def test_new_version_ends_what_it_was_given(server: World) -> None:
    """Requests that a new replica took before the failure of the next are not cut."""
    await server.deploy(ONE, replicas=2)
    new = f"shop-{TWO}-r1"
    server.readiness.failing[f"shop-{TWO}-r2"] = DeployFailed("no", failure="exited")
    gate: Deferred[None] = Deferred()
    server.traffic.held[new] = gate
    await server.submit(TWO, replicas=2)
    await server.settled(
        lambda: len(server.traffic.tables) > 2 and server.traffic.tables[-1] == (ONE,)
    )
    assert new in await server.running()
    gate.callback(None)
    assert (await server.end_of(TWO)).failed
    assert await server.versions() == {ONE}


async def test_failed_start(server: World) -> None:
    """A replica that Docker cannot start leaves no container (D15, E7)."""
    await server.deploy(ONE)
    server.engine.failures[f"start shop-{TWO}-r2"] = HaloyError("no such file")
    end = await server.deploy(TWO, replicas=2)
    assert end.fields["code"] == "start"
    assert [one.name for one in await server.containers()] == [f"shop-{ONE}"]


async def test_create_that_times_out(server: World) -> None:
    """A container that Docker made although its answer did not come goes too (E5)."""
    await server.deploy(ONE)
    server.seam.after[f"create shop-{TWO}"] = EngineUnavailable("no answer")
    end = await server.deploy(TWO)
    assert end.fields["code"] == "engine-unavailable"
    assert [one.name for one in await server.containers()] == [f"shop-{ONE}"]


async def test_docker_away(server: World) -> None:
    """The end is told without asking Docker again; what is left goes later."""
    await server.deploy(ONE)
    server.seam.after[f"create shop-{TWO}"] = EngineUnavailable("no answer")
    server.engine.failures["ping"] = EngineUnavailable("no answer")
    server.engine.calls.clear()
    end = await server.deploy(TWO)
    assert end.fields["code"] == "engine-unavailable"
    assert {one.deployment for one in server.traffic.versions()} == {ONE}
    del server.engine.failures["ping"]
    await server.look()
    await server.settled(lambda: f"remove shop-{TWO}" in server.engine.calls)
    assert [one.name for one in await server.containers()] == [f"shop-{ONE}"]


async def test_docker_goes_away_on_the_way_back(server: World) -> None:
    """The first call that is not answered is the last one that is waited for."""
    await server.deploy(ONE, replicas=2)
    server.readiness.failing[f"shop-{TWO}-r2"] = DeployFailed("no", failure="exited")
    server.engine.failures["remove"] = EngineUnavailable("no answer")
    server.engine.calls.clear()
    end = await server.deploy(TWO, replicas=2)
    assert end.fields["code"] == "exited"
    assert {one.deployment for one in server.traffic.versions()} == {ONE}
    assert f"start shop-{ONE}-r1" not in server.engine.calls
    del server.engine.failures["remove"]
    await server.look()
    await server.settled(lambda: f"start shop-{ONE}-r1" in server.engine.calls)


async def test_failed_deployment_loses_its_tag(server: World) -> None:
    """The tag of a failed deployment is no rollback target and goes."""
    server.readiness.failing[f"shop-{ONE}"] = DeployFailed("no", failure="exited")
    await server.deploy(ONE)
    await server.settled(lambda: f"untag shop:{ONE}" in server.engine.calls)


async def test_full_disk_at_the_switch(server: World) -> None:
    """What cannot be recorded does not go live: the old version serves on."""
    await server.deploy(ONE)
    full = InsufficientStorage("insufficient disk space for the database")
    server.database.failing["go_live"] = full
    end = await server.deploy(TWO)
    assert (end.failed, end.fields["code"]) == (True, "insufficient-storage")
    assert await server.running() == [f"shop-{ONE}"]
    assert {one.deployment for one in server.traffic.versions()} == {ONE}
