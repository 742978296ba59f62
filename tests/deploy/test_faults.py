"""What deploying promises when things go wrong, on an engine in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import Deferred

from haloy.config.app_file import History, ImageConfig
from haloy.engine.interface import ContainerSpec
from haloy.errors import (
    Conflict,
    DeployFailed,
    EngineUnavailable,
    HaloyError,
    InsufficientStorage,
    InvalidValue,
)
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import Leftover
from tests.deploy.world import World, request, world

ONE, TWO, THREE = "01aaaaaaaa-one", "01aaaaaaaa-two", "01aaaaaaaa-three"


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path, reactor: Any) -> AsyncIterator[World]:
    async with world(tmp_path, reactor) as made:
        await made.service.start()
        yield made


async def test_first_deployment(server: World) -> None:
    """A first deployment runs, is routed and ends its log with success."""
    end = await server.deploy(ONE, replicas=2)
    assert (end.complete, end.failed, end.domains) == (
        True,
        False,
        ("shop.example.com",),
    )
    assert await server.running() == [f"shop-{ONE}-r1", f"shop-{ONE}-r2"]
    assert {one.name for one in server.traffic.versions()} == {
        f"shop-{ONE}-r1",
        f"shop-{ONE}-r2",
    }


@pytest.mark.parametrize(
    ("strategy", "replicas"), [("rolling", 1), ("blue_green", 3), ("replace", 2)]
)
async def test_version_flips_once(server: World, strategy: str, replicas: int) -> None:
    """No table has two versions, and rolling and blue_green none without one."""
    values: dict[str, Any] = {"deployment_strategy": strategy, "replicas": replicas}
    await server.deploy(ONE, **values)
    server.traffic.tables.clear()
    await server.deploy(TWO, **values)
    seen = [table for table in server.traffic.tables if table]
    assert [table for table in seen if len(table) > 1] == []
    assert seen[-1] == (TWO,)
    if strategy != "replace":
        assert () not in server.traffic.tables


async def test_old_containers_are_removed(server: World) -> None:
    """When the old ones have drained they are stopped and removed (D5, D14)."""
    await server.deploy(ONE)
    await server.deploy(TWO)
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)
    calls = server.engine.calls
    assert calls.index(f"stop shop-{ONE}") < calls.index(f"remove shop-{ONE}")
    assert await server.running() == [f"shop-{TWO}"]


async def test_worker_without_domain(server: World) -> None:
    """An app without domains is replaced like any other (D5)."""
    await server.deploy(ONE, domains=())
    await server.deploy(TWO, domains=())
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)
    assert await server.running() == [f"shop-{TWO}"]


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


async def test_failed_deployment_loses_its_tag(server: World) -> None:
    """The tag of a failed deployment is no rollback target and goes."""
    server.readiness.failing[f"shop-{ONE}"] = DeployFailed("no", failure="exited")
    await server.deploy(ONE)
    await server.settled(lambda: f"untag shop:{ONE}" in server.engine.calls)


async def test_upper_case_name(server: World) -> None:
    """C{MyApp} is refused when its image would have to be tagged (A15), else not."""
    server.engine.have_image("my:latest")
    image = ImageConfig(repository="my", tag="latest", pull_policy="never")
    with pytest.raises(InvalidValue):
        await server.submit(ONE, "MyApp", image=image)
    end = await server.deploy(
        TWO, "MyApp", image=evolve(image, history=History(strategy="none"))
    )
    assert not end.failed


async def test_docker_hangs_at_submit(server: World) -> None:
    """A POST is answered although Docker is away; the stream says what is wrong."""
    server.engine.failures["containers"] = EngineUnavailable("Docker does not answer")
    end = await server.deploy(ONE)
    assert (end.failed, end.fields["code"]) == (True, "engine-unavailable")


async def test_domain_of_another_app(server: World) -> None:
    """A domain conflict costs nobody else anything and names the owner (D28)."""
    server.traffic.owners["shop.example.com"] = "blog"
    try:
        await server.submit(ONE)
    except Conflict as problem:
        said = str(problem)
    else:
        end = await server.end_of(ONE)
        said = end.fields["error"]
        assert end.failed
    assert "blog" in said
    assert await server.containers() == []


async def test_manual_app(server: World) -> None:
    """An app of hand-made containers refuses a deploy and is not touched (D18)."""
    labels = {
        "dev.haloy.appName": "shop",
        "dev.haloy.deployment-id": "manual-001",
        "dev.haloy.domain.0": "shop.example.com",
    }
    made = await server.engine.create(
        ContainerSpec(name="by-hand", image="shop:latest", labels=labels)
    )
    await server.engine.start(made)
    with pytest.raises(Conflict, match="by-hand"):
        await server.submit(ONE)
    await server.look()
    assert [one.replicas[0].name for one in server.reported[-1]] == ["by-hand"]
    assert await server.running() == ["by-hand"]


async def test_same_id_twice(server: World) -> None:
    """Equal body: one run; another body: refused (A22)."""
    await server.deploy(ONE)
    await server.submit(ONE)
    assert [call for call in server.engine.calls if call.startswith("create")] == [
        f"create shop-{ONE}"
    ]
    with pytest.raises(Conflict):
        await server.submit(ONE, replicas=2)


async def test_one_id_for_two_apps(server: World) -> None:
    """(app, id) is the identity: the Go client uses one id for several apps."""
    server.engine.have_image("blog:latest")
    assert not (await server.deploy(ONE)).failed
    end = await server.deploy(ONE, "blog")
    assert (end.app, end.failed) == ("blog", False)


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


async def test_live_deployment_never_removes_itself(server: World) -> None:
    """A look that began before the switch does not clear the new version (D2)."""
    server.engine.have_image("aaa:latest")
    await server.deploy("01aaaaaaaa-aaa", "aaa")
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{TWO}"] = gate
    await server.submit(TWO)
    await server.settled(lambda: f"shop-{TWO}" in server.readiness.asked)
    (first,) = await server.containers("aaa")
    server.engine.vanish(first.id)

    ended: list[Any] = []

    async def slowly() -> None:
        gate.callback(None)
        ended.append(await server.end_of(TWO))

    server.seam.before["create aaa-01aaaaaaaa-aaa"] = slowly
    await server.look()
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)
    await server.look()
    assert not ended[0].failed
    assert await server.running() == [f"shop-{TWO}"]


async def test_slow_app_holds_up_nobody(server: World) -> None:
    """A look that waits for one app reports the others (rule 8, D8)."""
    server.engine.have_image("aaa:latest")
    await server.deploy("01aaaaaaaa-aaa", "aaa")
    await server.deploy(ONE)
    (first,) = await server.containers("aaa")
    (second,) = await server.containers("shop")
    server.engine.vanish(first.id)
    server.engine.crash(second.id)
    gate: Deferred[None] = Deferred()

    async def slowly() -> None:
        await gate

    server.seam.before["create aaa-01aaaaaaaa-aaa"] = slowly
    looking = Deferred.fromCoroutine(server.look())
    server.engine.calls.clear()
    await server.settled(lambda: f"start shop-{ONE}" in server.engine.calls)
    gate.callback(None)
    await looking


async def test_old_replicas_are_watched_during_a_deploy(server: World) -> None:
    """What serves is reported also while its successor is on its way (D4)."""
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{TWO}"] = gate
    await server.submit(TWO)
    await server.settled(lambda: f"shop-{TWO}" in server.readiness.asked)
    await server.look()
    reported = [one.name for app in server.reported[-1] for one in app.replicas]
    gate.callback(None)
    await server.end_of(TWO)
    assert reported == [f"shop-{ONE}"]


async def test_vanished_container(server: World) -> None:
    """A container that is gone is retired from the routes and created again (E3)."""
    await server.deploy(ONE)
    (before,) = await server.containers()
    server.engine.vanish(before.id)
    await server.look()
    await server.settled(lambda: len(server.engine.calls) > 0)
    (after,) = await server.containers()
    assert (after.name, after.id != before.id) == (f"shop-{ONE}", True)
    assert before.id not in server.traffic.serving
    await server.rest()
    assert [one.name for app in server.reported[-1] for one in app.replicas] == [
        f"shop-{ONE}"
    ]


async def test_crash_of_a_live_app(server: World) -> None:
    """A crash is no failed deployment: the container is started again (D3)."""
    await server.deploy(ONE)
    (before,) = await server.containers()
    server.engine.crash(before.id)
    await server.look()
    assert [one.id for one in await server.containers()] == [before.id]
    assert await server.running() == [f"shop-{ONE}"]


async def test_tunnels_outlive_the_deploy(server: World) -> None:
    """An old replica with a tunnel is stopped when that has ended, not before."""
    await server.deploy(ONE)
    server.traffic.leftover[f"shop-{ONE}"] = Leftover(0, 1)
    gate: Deferred[None] = Deferred()
    server.traffic.held[f"shop-{ONE}"] = gate
    end = await server.deploy(TWO)
    assert not end.failed
    assert await server.running() == [f"shop-{ONE}", f"shop-{TWO}"]
    status = await server.status()
    assert [one.draining for one in status.replicas] == [True, False]
    gate.callback(None)
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)


async def test_full_disk_at_the_switch(server: World) -> None:
    """What cannot be recorded does not go live: the old version serves on."""
    await server.deploy(ONE)
    full = InsufficientStorage("insufficient disk space for the database")
    server.database.failing["go_live"] = full
    end = await server.deploy(TWO)
    assert (end.failed, end.fields["code"]) == (True, "insufficient-storage")
    assert await server.running() == [f"shop-{ONE}"]
    assert {one.deployment for one in server.traffic.versions()} == {ONE}


async def test_stop(server: World) -> None:
    """A stopped app stays stopped, loses its routes, and a deploy brings it back."""
    await server.deploy(ONE)
    await server.service.stop_app(AppName("shop"), False, False)
    await server.settled(lambda: f"stop shop-{ONE}" in server.engine.calls)
    await server.look()
    assert await server.running() == []
    assert server.traffic.serving == {}
    await server.deploy(TWO)
    assert f"shop-{TWO}" in await server.running()


async def test_rollback(server: World) -> None:
    """A rollback runs the image of then under a new id."""
    await server.deploy(ONE)
    server.engine.have_image("shop:latest", image_id="sha256:two")
    await server.deploy(TWO)
    (target,) = await server.service.rollback_targets(AppName("shop"))
    assert (target.id, target.image_ref) == (ONE, f"shop:{ONE}")
    wanted = evolve(request(ONE).target, image=ImageConfig(repository="shop", tag=ONE))
    asked = await server.service.rollback_request(
        DeploymentId(ONE), DeploymentId(THREE), wanted, "me"
    )
    await server.service.submit(asked)
    end = await server.end_of(THREE)
    assert not end.failed
    newest = [one for one in await server.containers() if THREE in one.name]
    assert newest[0].image_id == "sha256:one"


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
