"""Carrying out the steps of a plan."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from haloy.errors import Conflict, DeployFailed
from haloy.proxy.interface import Leftover
from tests.deploy.world import ONE, TWO, World


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


@pytest.mark.parametrize("left", [Leftover(1, 0), Leftover(0, 1)])
async def test_long_requests_outlive_their_step(server: World, left: Leftover) -> None:
    """A replica that is not done within its step of a roll runs on while it drains."""
    await server.deploy(ONE, replicas=2)
    server.traffic.leftover[f"shop-{ONE}-r1"] = left
    await server.submit(TWO, replicas=2)
    held = server.readiness.held[f"shop-{TWO}-r2"] = Deferred()
    await server.settled(lambda: f"shop-{TWO}-r2" in server.readiness.asked)
    assert f"stop shop-{ONE}-r1" not in server.engine.calls
    drain = server.traffic.held[f"shop-{ONE}-r1"] = Deferred()
    held.callback(None)
    await server.settled(lambda: f"remove shop-{ONE}-r2" in server.engine.calls)
    assert f"stop shop-{ONE}-r1" not in server.engine.calls
    drain.callback(None)
    await server.settled(lambda: f"remove shop-{ONE}-r1" in server.engine.calls)


@pytest.mark.parametrize("fails", [False, True])
async def test_one_name_after_several(server: World, fails: bool) -> None:
    """Static naming follows replicas with numbers, and gives way to them again."""
    await server.deploy(ONE, replicas=2)
    before = await server.running()
    if fails:
        server.readiness.failing["shop"] = DeployFailed("no", failure="exited")
    end = await server.deploy(
        TWO, deployment_strategy="replace", naming_strategy="static"
    )
    assert end.fields.get("code", "") == ("exited" if fails else "")
    await server.settled(
        lambda: f"remove shop-{ONE}-r2" in server.engine.calls or fails
    )
    assert await server.running() == (before if fails else ["shop"])


async def test_the_old_version_is_served_when_it_is_healthy_again(
    server: World,
) -> None:
    """It was stopped for the new one, which failed: until then it gets no request."""
    await server.deploy(ONE)
    server.readiness.failing[f"shop-{TWO}"] = DeployFailed("no", failure="exited")
    held = server.readiness.held[f"shop-{ONE}"] = Deferred()
    before = len(server.readiness.asked)
    server.traffic.tables.clear()
    await server.submit(TWO, deployment_strategy="replace")
    await server.settled(
        lambda: (
            f"shop-{ONE}" in server.readiness.asked[before:]
        )  # asked on the way back
    )
    assert set(server.traffic.tables) <= {(), (TWO,)}
    assert server.traffic.versions() == ()
    held.callback(None)
    assert (await server.end_of(TWO)).failed
    assert server.traffic.tables[-1] == (ONE,)


async def test_worker_without_domain(server: World) -> None:
    """An app without domains is replaced like any other (D5)."""
    await server.deploy(ONE, domains=())
    await server.deploy(TWO, domains=())
    await server.settled(lambda: f"remove shop-{ONE}" in server.engine.calls)
    assert await server.running() == [f"shop-{TWO}"]


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
