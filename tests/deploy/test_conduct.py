"""From the queue to the end marker, whatever happens in between."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define
from twisted.internet.defer import CancelledError, Deferred

from haloy.deploy.conduct import RECORD_RETRY_S
from haloy.deploy.interface import LogEntry
from haloy.errors import (
    Conflict,
    DeployFailed,
    EngineError,
    HaloyError,
    InsufficientStorage,
    NotFound,
    StoreError,
)
from haloy.model.app import Domain
from haloy.model.names import AppName
from haloy.store import deployments as rows
from tests.deploy.world import ONE, THREE, TWO, World

FOUR = "01aaaaaaab-four"
#: What is read of a deployment and its log.
READS = (
    "find_deployment",
    "deployments_by_id",
    "deployments_of",
    "unfinished_deployments",
    "read_log",
)


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


async def test_taken_back(server: World) -> None:
    """What waits never begins and is told so; what runs is refused and goes on."""
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{ONE}"] = gate
    await server.submit(ONE)
    await server.settled(lambda: f"shop-{ONE}" in server.readiness.asked)
    await server.submit(TWO)
    shop = AppName("shop")
    await server.service.cancel(shop, TWO, "ci")
    for identifier, kind in ((ONE, Conflict), (TWO, Conflict), (THREE, NotFound)):
        with pytest.raises(kind):
            await server.service.cancel(shop, identifier, "ci")
    end = await server.end_of(TWO)
    assert (end.failed, end.fields["code"]) == (True, "cancelled")
    assert end.message == "Deployment of shop was cancelled"
    assert "ci" in end.fields["error"]
    gate.callback(None)
    assert not (await server.end_of(ONE)).failed
    past = await server.service.history(shop, 10)
    assert [(one.id, one.state.value) for one in past] == [
        (TWO, "superseded"),
        (ONE, "live"),
    ]
    assert await server.service.history(None, 10, past[0].seq) == past[1:]
    found = await server.service.deployment(shop, TWO)
    assert (found.compared_with, found.record.failure) == (ONE, "cancelled")


async def test_a_reason_has_no_places_of_the_server(server: World) -> None:
    """Issue 7: neither the log nor the list of deployments shows Docker's own."""
    root = f"/var/lib/docker/overlay2/{'a1' * 32}/merged"
    server.engine.failures["start"] = EngineError(
        f'mounting "/srv/x": open {root}/etc/x: no such file; dial tcp 172.18.0.3:80'
    )
    told = 'mounting "/srv/x": open /etc/x: no such file; dial tcp …'
    end = await server.deploy(ONE)
    assert end.fields["error"].endswith(told)
    (past,) = await server.service.history(AppName("shop"), 10)
    assert past.reason.endswith(told)


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


@pytest.mark.parametrize("stop", [False, True])
async def test_ended_on_the_way_back(server: World, stop: bool) -> None:
    """It has failed by then, not been interrupted; the next start tells it so."""
    await server.deploy(ONE)
    server.readiness.failing[f"shop-{TWO}"] = DeployFailed(
        "it exited with code 3", failure="exited"
    )
    reached: list[str] = []

    async def hang() -> None:
        reached.append(TWO)
        await Deferred()

    server.seam.before[f"remove shop-{TWO}"] = hang
    await server.submit(TWO)
    await server.settled(lambda: reached == [TWO])
    if stop:
        await server.service.stop()
    after = await server.die()
    try:
        await after.service.start()
        end = await after.end_of(TWO)
        assert (end.failed, end.fields["code"]) == (True, "exited")
        assert end.fields["error"] == "it exited with code 3"
        assert end.message == "Deployment of shop failed"
        row = await after.database.run(rows.find_deployment, "shop", TWO)
        assert row is not None
        assert (row.state, row.failure, row.target) == ("failed", "exited", {})
        await after.rest()
        assert await after.versions() == {ONE}
    finally:
        await after.service.stop()
        await after.database.close()


async def test_full_disk_at_the_end(server: World) -> None:
    """A failure that cannot be recorded is told at once and recorded later (A3)."""
    full = InsufficientStorage("insufficient disk space for the database")
    server.readiness.failing[f"shop-{ONE}"] = DeployFailed("no", failure="exited")
    server.database.failing["end_dead"] = full
    end = await server.deploy(ONE)
    assert (end.failed, end.fields["code"]) == (True, "exited")
    server.database.failing.clear()
    began_s = server.clock.seconds()
    await server.settled(lambda: server.clock.seconds() - began_s > 2 * RECORD_RETRY_S)
    row = await server.database.run(rows.find_deployment, "shop", ONE)
    assert row is not None
    assert (row.state, row.failure) == ("failed", "exited")


@pytest.mark.parametrize(
    "trouble",
    [
        StoreError("database haloy.db: disk I/O error"),
        StoreError("database haloy.db: database is locked"),
        StoreError("database haloy.db: attempt to write a readonly database"),
        InsufficientStorage("insufficient disk space for the database"),
    ],
)
async def test_database_fails_before_the_first_read(
    server: World, trouble: HaloyError
) -> None:
    """What runs and what waits end at once, and as failed; so it is recorded later.

    Whoever asks for a log by then is told the same, though no log can be read.
    """
    await server.deploy(ONE)
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{TWO}"] = gate
    await server.submit(TWO)
    await server.settled(lambda: f"shop-{TWO}" in server.readiness.asked)
    await server.submit(THREE)
    followed = [Deferred.fromCoroutine(server.end_of(one)) for one in (TWO, THREE)]
    for work in (*READS, "go_live", "set_state", "end_dead", "add_log"):
        server.database.failing[work] = trouble
    gate.callback(None)
    early = [await one for one in followed]
    late = [await server.end_of(one) for one in (TWO, THREE)]
    for end in (*early, *late):
        assert (end.failed, end.fields["code"]) == (True, trouble.code)
    assert await server.running() == [f"shop-{ONE}"]
    server.database.failing.clear()
    began_s = server.clock.seconds()
    await server.settled(lambda: server.clock.seconds() - began_s > 2 * RECORD_RETRY_S)
    for one in (TWO, THREE):
        row = await server.database.run(rows.find_deployment, "shop", one)
        assert row is not None
        assert (row.state, row.failure, row.target) == ("failed", trouble.code, {})
    assert not (await server.deploy(FOUR)).failed


async def test_database_fails_when_one_takes_its_place(server: World) -> None:
    """The one that is superseded is told so, the newer one goes on."""
    gate: Deferred[None] = Deferred()
    server.readiness.held[f"shop-{ONE}"] = gate
    await server.submit(ONE)
    await server.settled(lambda: f"shop-{ONE}" in server.readiness.asked)
    await server.submit(TWO)
    server.database.failing["end_dead"] = StoreError("disk I/O error")
    await server.submit(THREE)
    assert (await server.end_of(TWO)).fields["code"] == "superseded"
    gate.callback(None)
    assert not (await server.end_of(THREE)).failed


async def test_stopped_while_the_database_fails(server: World) -> None:
    """Who runs and who waits are told at the end; the next start records it."""
    server.readiness.held[f"shop-{ONE}"] = Deferred()
    await server.submit(ONE)
    await server.settled(lambda: f"shop-{ONE}" in server.readiness.asked)
    await server.submit(TWO)
    for work in (*READS, "end_dead"):
        server.database.failing[work] = StoreError("disk I/O error")
    await server.service.stop()
    for one in (ONE, TWO):
        assert (await server.end_of(one)).fields["code"] == "interrupted"
    after = await server.die()
    try:
        await after.service.start()
        await after.rest()
        assert await after.versions() == set()
        for one in (ONE, TWO):
            row = await after.database.run(rows.find_deployment, "shop", one)
            assert row is not None
            assert row.state == "interrupted"
    finally:
        await after.service.stop()
        await after.database.close()


async def test_stopped_in_the_middle(server: World) -> None:
    """A daemon that is stopped says "interrupted"; the next one clears what is left."""
    await server.deploy(ONE)
    server.readiness.held[f"shop-{TWO}"] = Deferred()
    await server.submit(TWO)
    await server.settled(lambda: f"shop-{TWO}" in server.readiness.asked)
    await server.submit(THREE)
    await server.service.stop()
    for one in (TWO, THREE):
        assert (await server.end_of(one)).fields["code"] == "interrupted"
    after = await server.die()
    try:
        await after.service.start()
        await after.rest()
        assert await after.versions() == {ONE}
    finally:
        await after.service.stop()
        await after.database.close()


async def test_a_mistake_of_ours(server: World, logged_failures: list[Any]) -> None:
    """An unforeseen error fails the deployment with a marker, and is logged."""
    await server.deploy(ONE)
    server.readiness.failing[f"shop-{TWO}"] = ValueError("impossible")
    end = await server.deploy(TWO)
    assert (end.failed, end.fields["code"]) == (True, "internal")
    assert await server.running() == [f"shop-{ONE}"]
    assert [one.type for one in logged_failures] == [ValueError]
    logged_failures.clear()


@define(eq=False)
class Told:
    """What is known of the names."""

    ahead: Any = ()
    at_the_end: Any = ()
    cancelled: bool = False

    async def look_ahead(self, domains: tuple[Domain, ...]) -> tuple[str, ...]:
        try:
            found: tuple[str, ...] = (
                await self.ahead if isinstance(self.ahead, Deferred) else self.ahead
            )
        except CancelledError:
            self.cancelled = True
            raise
        return found

    def missing(self, domains: tuple[Domain, ...]) -> tuple[tuple[str, str], ...]:
        if isinstance(self.at_the_end, Exception):
            raise self.at_the_end
        found: tuple[tuple[str, str], ...] = self.at_the_end
        return found


async def with_names(reactor: Any, folder: Path, names: Told) -> World:
    world = World(folder, reactor, names=names)
    world.engine.have_image("shop:latest", image_id="sha256:one")
    await world.begin()
    await world.service.start()
    return world


async def test_certificates_are_told_of_before_the_end(
    tmp_path: Path, reactor: Any
) -> None:
    """Where a name leads, and which certificate is not there; the deploy succeeds."""
    names = Told(("leads elsewhere",), (("WARN", "not there: refused"),))
    world = await with_names(reactor, tmp_path, names)
    lines: list[LogEntry] = []

    async def consume(line: LogEntry) -> None:
        lines.append(line)

    assert not (await world.deploy(ONE)).failed
    await world.service.follow(ONE, consume)
    told = [(one.level, one.message) for one in lines]
    assert ("WARN", "leads elsewhere") in told
    assert told[-2] == ("WARN", "not there: refused")
    assert lines[-1].complete
    await world.service.stop()
    await world.database.close()


async def test_trouble_with_names_holds_up_no_deployment(
    tmp_path: Path, reactor: Any, logged_failures: list[Any]
) -> None:
    """D6: a look that never ends is given up, a mistake is only logged."""
    names = Told(Deferred(), RuntimeError("ours"))
    world = await with_names(reactor, tmp_path, names)
    assert not (await world.deploy(ONE)).failed
    assert names.cancelled
    assert [type(one.value) for one in logged_failures] == [RuntimeError]
    logged_failures.clear()
    await world.service.stop()
    await world.database.close()
