"""What C{daemon.snapshot} keeps."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.logger import Logger, capturedLogs

from haloy.daemon.intents import Intents
from haloy.daemon.snapshot import (
    EACH_S,
    RETRY_S,
    SnapshotMaker,
    SnapshotWriter,
    from_bytes,
    read_snapshot,
)
from haloy.model.app import Address, App, Domain, ProxyOptions, Replica
from haloy.model.names import AppName, DeploymentId, DomainName
from tests.fakes.threads import InlineClock, InlinePool

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def full() -> Intents:
    shop = App(
        name=AppName("shop"),
        deployment=DeploymentId("01aaaaaa"),
        domains=(Domain(DomainName("a.example.com"), (DomainName("b.example.com"),)),),
        proxy=ProxyOptions(response_headers=(("X-A", "1"),)),
    )
    one = Replica(
        container_id="c1",
        name="shop-1",
        app=shop.name,
        deployment=shop.deployment,
        number=1,
        address=Address("172.18.0.2", 8080),
        managed=True,
        running=True,
        started_at=NOW,
    )
    return Intents(DomainName("api.example.com")).admit(shop, [one]).eject("c1")


def test_round_trip() -> None:
    """What was served comes back as it was, verdicts included."""
    assert from_bytes(SnapshotMaker().to_bytes(full())) == full()


def test_a_row_of_snapshots() -> None:
    """Each is what is wanted now, whatever was written before."""
    maker = SnapshotMaker()
    before = full()
    again = before.readmit("c1")
    (app,), (replica,) = before.apps.values(), before.admitted.values()
    moved = evolve(replica, container_id="c2", address=Address("172.18.0.3", 80))
    other = again.admit(evolve(app, port=81), [moved]).retire(["c1"])
    for intents in (before, again, other, other.forget(app.name), before):
        assert from_bytes(maker.to_bytes(intents)) == intents


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """What could not be written is when there is room again, the newest of it."""
    folder = tmp_path / "proxy"
    folder.touch()  # nothing can be written there
    clock, path = InlineClock(), folder / "intents.json"
    writer = SnapshotWriter(clock, cast(Any, InlinePool()), path)
    with capturedLogs() as logged:
        writer.save(full())
        clock.advance(RETRY_S)
        newest = full().readmit("c1")
        writer.save(newest)
        clock.advance(RETRY_S)
    assert len([one for one in logged if "tried again" in one["log_format"]]) == 1
    folder.unlink()
    folder.mkdir()
    clock.advance(RETRY_S)
    assert read_snapshot(path, NOW, Logger()) == newest
    assert clock.getDelayedCalls() == []


def test_missing_snapshot_is_none(tmp_path: Path) -> None:
    """A first start has none."""
    assert read_snapshot(tmp_path / "intents.json", NOW, Logger()) is None


def test_damaged_snapshot_is_moved_aside(tmp_path: Path) -> None:
    """A truncated file never stops the daemon and is kept for a look."""
    path = tmp_path / "intents.json"
    path.write_bytes(SnapshotMaker().to_bytes(full())[:-7])
    assert read_snapshot(path, NOW, Logger()) is None
    assert not path.exists()
    assert [one.name for one in tmp_path.iterdir()] == [
        "intents.json.corrupt-20261124T000000Z"
    ]


def told(waiting: Coroutine[Any, Any, None]) -> list[None]:
    """Run C{waiting}; what is returned has an element when it has come to its end."""
    ended: list[None] = []
    Deferred.fromCoroutine(waiting).addCallback(ended.append)
    return ended


def test_a_stream_is_written_now_and_then(tmp_path: Path) -> None:
    """The first at once, then the newest when it is due; the end loses nothing."""
    clock, path = InlineClock(), tmp_path / "intents.json"
    writer = SnapshotWriter(clock, cast(Any, InlinePool()), path)
    some = [evolve(full(), api_domain=DomainName(f"api{n}.test")) for n in range(4)]
    writer.save(some[0])
    assert from_bytes(path.read_bytes()) == some[0]
    writer.save(some[1])
    writer.save(some[2])
    clock.advance(EACH_S * 0.9)
    assert from_bytes(path.read_bytes()) == some[0]
    clock.advance(EACH_S * 0.1)
    assert from_bytes(path.read_bytes()) == some[2]
    writer.save(some[3])
    assert told(writer.stop())
    assert from_bytes(path.read_bytes()) == some[3]
    assert clock.getDelayedCalls() == []


def test_who_waits_has_it_written(tmp_path: Path) -> None:
    """What is to be known before a container is stopped does not wait for its turn."""
    clock, path = InlineClock(), tmp_path / "intents.json"
    writer = SnapshotWriter(clock, cast(Any, InlinePool()), path)
    assert told(writer.kept())
    writer.save(full())
    newest = full().readmit("c1")
    writer.save(newest)
    assert told(writer.kept())
    assert from_bytes(path.read_bytes()) == newest
    assert clock.getDelayedCalls() == []


async def test_who_waits_during_a_write_waits_for_the_next(
    tmp_path: Path, reactor: Any
) -> None:
    """The write that was under way had begun without it."""
    path = tmp_path / "intents.json"
    writer = SnapshotWriter(reactor, reactor.getThreadPool(), path)
    writer.save(full())
    newest = full().readmit("c1")
    writer.save(newest)
    await writer.kept()
    assert from_bytes(path.read_bytes()) == newest
    await writer.stop()


def test_a_full_disk_holds_nobody_up(tmp_path: Path) -> None:
    """Who waits goes on after one attempt, and the next comes at its time."""
    folder = tmp_path / "proxy"
    folder.touch()
    clock = InlineClock()
    writer = SnapshotWriter(clock, cast(Any, InlinePool()), folder / "intents.json")
    writer.save(full())
    assert told(writer.kept())
    assert told(writer.stop())
    assert clock.getDelayedCalls() == []
