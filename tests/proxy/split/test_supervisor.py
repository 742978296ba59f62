"""The supervisor: what it keeps, and what it is asked."""

from __future__ import annotations

import json
import os
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from attrs import evolve
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure

from haloy.errors import ConfigError
from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.interface import DrainLimits, Leftover
from haloy.proxy.split.supervisor import Plan, Supervisor
from tests.proxy.apps import OK
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.support import (
    Peer,
    answering,
    ask,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
    make_certificate,
    table_of,
)

CHALLENGE = Challenge(
    ChallengeKind.HTTP_01, DomainName("app.example.com"), "tok", "tok.thumb"
)


def ask_tls(port: int) -> tuple[int, bytes]:
    peer = connect_tls(port)
    peer.send(get())
    status, _, body = peer.response()
    peer.close()
    return status, body


def certificate(domain: str = "app.example.com") -> Certificate:
    chain, key = make_certificate(domain)
    now = datetime.now(UTC)
    name = DomainName(domain)
    return Certificate(name, frozenset({name}), chain, Secret(key), now, now)


def in_the_way(state: Path) -> None:
    """Let no table be written."""
    (state / "table.json").mkdir(parents=True)


def kept_before(state: Path, settings: dict[str, Any]) -> None:
    """Leave what another release may have kept."""
    state.mkdir()
    table = {"is": "RouteTable", "generation": 9}
    (state / "table.json").write_text(
        json.dumps({"is": "KeptTable", "settings": settings, "table": table})
    )


async def reloaded(split: Split, reactor: Any) -> None:
    """Replace the workers and wait until the new ones serve."""
    before = set(split.supervisor.pids)
    split.supervisor.reload()
    while set(split.supervisor.pids) & before or len(split.supervisor.pids) < 2:
        await deferLater(reactor, 0.02)


async def test_it_serves_before_haloyd_comes(
    start_split: SplitStarter, tmp_path: Path
) -> None:
    """Routes and TLS of the life before, from files that are its own alone."""
    split = await start_split(plain=False)
    with backend(answering(OK)) as one:
        await split.proxy.replace_certificates((certificate(),))
        await split.proxy.replace_table(table_of(one, generation=5))
        await split.proxy.stopService()
        await split.supervisor.stopService()
        kept = json.loads((tmp_path / "state" / "table.json").read_text())
        assert kept["table"]["generation"] == 5
        again = await start_split(plain=False)
        await again.proxy.stopService()
        assert await in_thread(ask_tls, again.https) == (200, b"hello")


class Announcing(Supervisor):
    """Says when workers serve."""

    def __init__(self, reactor: Any, plan: Plan) -> None:
        super().__init__(reactor, plan, lambda: datetime.now(UTC))
        self.announced: list[tuple[int, ...]] = []

    def serves(self) -> None:
        """Note who does."""
        self.announced.append(self.pids)


async def test_no_worker_can_be_started(
    tmp_path: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error with the reason, no word of serving; it is tried until it works."""
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os\nos._exit(7)\n")
    monkeypatch.setenv("PYTHONPATH", str(broken))
    said: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error:
            said.append(formatEvent(event))

    plan = Plan(
        workers=2,
        control=tmp_path / "proxy.sock",
        state=tmp_path / "state",
        http="127.0.0.1:0",
        https="",
        stop_s=0.5,
    )
    supervisor = Announcing(reactor, plan)
    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # a function does
    try:
        supervisor.startService()
        while not any("nobody is served" in line for line in said):
            await deferLater(reactor, 0.02)
        assert any("exit code 7" in line for line in said if "nobody is served" in line)
        assert not supervisor.announced
        monkeypatch.delenv("PYTHONPATH")
        while not supervisor.announced:
            await deferLater(reactor, 0.02)
        assert len(supervisor.announced) == 1
        assert supervisor.announced[0]
        assert await in_thread(ask, supervisor.http_port) == (404, ANY)
    finally:
        globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]  # as above
        await supervisor.stopService()


async def test_new_workers_know_what_the_old_ones_knew(
    start_split: SplitStarter, reactor: Any
) -> None:
    """Challenges and parked apps too."""
    split = await start_split()
    path = "/.well-known/acme-challenge/tok"
    await split.proxy.replace_table(table_of())
    await split.proxy.present(CHALLENGE)
    await split.proxy.park(AppName("app"), 60.0)
    await reloaded(split, reactor)
    for _ in range(6):
        assert await in_thread(ask, split.http, path) == (200, b"tok.thumb")
    held = in_thread(ask, split.http)
    while "app" not in split.proxy.stats().parked:
        await deferLater(reactor, 0.02)
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one, generation=2))
        await split.proxy.unpark(AppName("app"))
        assert await held == (200, b"hello")
    await split.proxy.withdraw(CHALLENGE)
    assert (await in_thread(ask, split.http, path))[0] != 200


async def test_new_workers_of_another_protocol(
    start_split: SplitStarter,
    reactor: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After an upgrade the supervisor may not understand them: the old ones stay.

    A worker that dies then is not replaced by one of them either, and all is well
    when they understand each other.
    """
    split = await start_split()
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        (tmp_path / "sitecustomize.py").write_text(
            "from haloy.proxy.control import protocol\nprotocol.PROTOCOL += 1\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        said: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_level"] >= LogLevel.error:
                said.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # a function does
        try:
            serving = split.supervisor.pids
            split.supervisor.reload()
            while not any("the old ones stay" in line for line in said):
                await deferLater(reactor, 0.02)
            assert split.supervisor.pids == serving
            assert any("restart this side with the newer" in line for line in said)
            os.kill(serving[0], signal.SIGKILL)
            while sum("is refused" in line for line in said) < 3:
                await deferLater(reactor, 0.02)
            assert split.supervisor.pids == serving[1:]
            assert await in_thread(ask, split.http) == (200, b"hello")
        finally:
            globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]  # as above
        monkeypatch.delenv("PYTHONPATH")
        await reloaded(split, reactor)
        assert await in_thread(ask, split.http) == (200, b"hello")


async def test_challenges_of_a_haloyd_that_was_killed_are_forgotten(
    start_split: SplitStarter, reactor: Any, tmp_path: Path
) -> None:
    """When the next one has told its own; until then the CA may still ask (P7)."""
    split = await start_split()
    path = "/.well-known/acme-challenge/"
    await split.proxy.replace_table(table_of())
    await split.proxy.present(CHALLENGE)
    await split.proxy.stopService()
    newer = evolve(CHALLENGE, token="new", key_authorization="new.thumb")
    again = RemoteProxy(reactor, str(split.plan.control), {})
    again.startService()
    try:
        await again.present(newer)
        assert (await in_thread(ask, split.http, path + "tok"))[1] == b"tok.thumb"
        await again.replace_certificates(())
        while (await in_thread(ask, split.http, path + "tok"))[1] == b"tok.thumb":
            await deferLater(reactor, 0.02)
        assert (await in_thread(ask, split.http, path + "new"))[1] == b"new.thumb"
    finally:
        await again.stopService()


async def test_what_drains_is_told(start_split: SplitStarter, reactor: Any) -> None:
    """Per container, over all workers, the replaced ones included."""
    split = await start_split()

    def silent(peer: Peer) -> None:
        while peer.head():
            pass

    peers = [connect(split.http) for _ in range(4)]
    with backend(silent) as one:
        table = table_of(one)
        (key,) = {up.key for route in table.exact.values() for up in route.upstreams}  # type: ignore[union-attr]  # app routes alone
        await split.proxy.replace_table(table)
        for peer in peers:
            peer.send(get())
        while split.proxy.stats().requests_active < len(peers):
            await deferLater(reactor, 0.02)
        await reloaded(split, reactor)
        await split.proxy.replace_table(table_of(generation=2))
        wanted = Leftover(len(peers), 0)
        while split.proxy.stats().draining.get(key) != wanted:
            await deferLater(reactor, 0.02)
        assert await split.proxy.drain(key, DrainLimits(0.05, 0.05)) == wanted
        for peer in peers:
            peer.reset()
        assert await split.proxy.drain(key, DrainLimits(20, 20)) == Leftover(0, 0)
        while split.proxy.stats().draining:
            await deferLater(reactor, 0.02)


async def test_a_disk_that_is_full(start_split: SplitStarter, reactor: Any) -> None:
    """What cannot be kept is served all the same, and kept when there is room."""
    split = await start_split()
    in_the_way(split.plan.state)
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        assert await in_thread(ask, split.http) == (200, b"hello")
        await deferLater(reactor, 0.5)
        assert (await in_thread(ask, split.http))[0] == 200
        table = split.plan.state / "table.json"
        table.rmdir()
        while not table.is_file():
            await deferLater(reactor, 0.05)
        assert "app.example.com" in table.read_text()


async def test_settings_of_another_release_are_left_out(
    start_split: SplitStarter, tmp_path: Path
) -> None:
    """Kept settings that this release does not know cost nothing but themselves."""
    kept_before(tmp_path / "state", {"warp": 9})
    split = await start_split()
    assert (await in_thread(ask, split.http))[0] == 404


async def test_a_port_that_is_taken(tmp_path: Path, reactor: Any) -> None:
    """It does not start, and leaves nothing open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        plan = Plan(1, tmp_path / "s", tmp_path / "state", f"127.0.0.1:{port}", "")
        with pytest.raises(ConfigError, match=str(port)):
            Supervisor(
                reactor, plan, lambda: datetime.now(UTC)
            ).privilegedStartService()
    assert not os.listdir(tmp_path)


async def test_a_control_socket_that_cannot_be(tmp_path: Path, reactor: Any) -> None:
    """Its folder must exist: nobody makes C{/run/haloy} by accident."""
    plan = Plan(1, tmp_path / "no" / "s", tmp_path / "state", "127.0.0.1:0", "")
    supervisor = Supervisor(reactor, plan, lambda: datetime.now(UTC))
    with pytest.raises(ConfigError, match="No such file"):
        supervisor.privilegedStartService()


async def test_a_stop_during_the_start_is_no_failure(
    tmp_path: Path, reactor: Any, logged_failures: list[Failure]
) -> None:
    """What was to be announced is not, and nothing asks a closed socket."""
    plan = Plan(
        workers=1,
        control=tmp_path / "proxy.sock",
        state=tmp_path / "state",
        http="127.0.0.1:0",
        https="",
        stop_s=0.5,
    )
    supervisor = Supervisor(reactor, plan, lambda: datetime.now(UTC))
    supervisor.startService()
    await supervisor.stopService()
    assert logged_failures == []
    assert supervisor.pids == ()
