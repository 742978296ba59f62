"""A worker: what it is made of, and what it makes of its settings."""

from __future__ import annotations

import gc
import socket
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.testing import StringTransport

from haloy.proxy.control.link import LONG_FRAME_BYTES
from haloy.proxy.control.protocol import (
    Configure,
    Leave,
    Meaning,
    Message,
    Serve,
    TablePart,
    pack,
)
from haloy.proxy.pacing import REST_S
from haloy.proxy.shares import whole_share
from haloy.proxy.split.worker import Worker, read_settings
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter
from tests.proxy.support import (
    answering,
    backend,
    connect,
    echoing,
    get,
    in_thread,
    table_of,
)

LIMIT_MIB = 45


def test_settings_are_checked() -> None:
    """They come from another process: names and kinds must fit; no listeners."""
    assert read_settings({}) == {}
    assert read_settings({"stop_s": 3, "trusted_proxies": ["10.0.0.0/8"]}) == {
        "stop_s": 3.0,
        "trusted_proxies": ("10.0.0.0/8",),
    }
    with pytest.raises(ValueError, match="no setting http"):
        read_settings({"http": ":80"})
    with pytest.raises(ValueError, match="str is no int"):
        read_settings({"public_https": "443"})


async def test_settings_reach_the_workers(start_split: SplitStarter) -> None:
    """What haloyd.yaml says holds, also when the first workers came before it."""
    split = await start_split(settings={"trusted_proxies": ["127.0.0.0/8"]})

    def client() -> bytes:
        peer = connect(split.http)
        peer.send(get(X_Forwarded_For="192.0.2.7", Connection="close"))
        return peer.response()[2]

    with backend(echoing) as one:
        await split.proxy.replace_table(table_of(one))
        while b"X-Forwarded-For: 192.0.2.7, 127.0.0.1" not in await in_thread(client):
            pass


def status(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


async def test_a_worker_keeps_no_privilege(start_split: SplitStarter) -> None:
    """Whatever its supervisor may: what execve(2) gives back it gives up itself."""
    split = await start_split(workers=1)
    (pid,) = split.supervisor.pids
    assert "\nNoNewPrivs:\t1\n" in status(pid)


async def test_all_workers_are_counted(start_split: SplitStarter, reactor: Any) -> None:
    """Requests of all of them, by app and replica."""
    split = await start_split()

    def client() -> None:
        peers = [connect(split.http) for _ in range(10)]
        for peer in peers:
            peer.send(get(Connection="close"))
            assert peer.response()[0] == 200

    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        await in_thread(client)
        reading = await split.proxy.traffic()
    assert reading.workers == 2
    assert sum(sum(one.statuses) for one in reading.counts.values()) == 10
    assert {app for app, _ in reading.counts} == {"app"}


async def test_trust_can_change(start_split: SplitStarter, reactor: Any) -> None:
    """C{trusted_proxies} of a reloaded haloyd.yaml reach the workers."""
    split = await start_split()

    def client() -> bytes:
        peer = connect(split.http)
        peer.send(get(X_Forwarded_For="192.0.2.7", Connection="close"))
        return peer.response()[2]

    with backend(echoing) as one:
        await split.proxy.replace_table(table_of(one))
        assert b"192.0.2.7" not in await in_thread(client)
        split.proxy.trust(["127.0.0.1"])
        while b"192.0.2.7" not in await in_thread(client):
            await deferLater(reactor, 0.02)


async def test_the_access_log_is_sent_while_somebody_reads(
    start_split: SplitStarter, reactor: Any
) -> None:
    """Records of all workers; none is sent otherwise."""
    reading = False
    split = await start_split(followed=lambda: reading)

    def client(target: str) -> int:
        peer = connect(split.http)
        peer.send(get(target=target, Connection="close"))
        return peer.response()[0]

    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))
        assert await in_thread(client, "/before") == 200
        reading = True
        while not split.records:
            await in_thread(client, "/now")
            await deferLater(reactor, 0.05)
        assert {record.target for record in split.records} == {"/now"}
        assert split.records[0].app == "app"
        reading = False
        await deferLater(reactor, 1.0)
        split.records.clear()
        assert await in_thread(client, "/after") == 200
        await deferLater(reactor, 0.3)
        assert not split.records


def mapped_by(pid: int) -> str:
    return Path(f"/proc/{pid}/maps").read_text()


def resident_kib(pid: int) -> int:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    (line,) = [one for one in text.splitlines() if one.startswith("Rss:")]
    return int(line.split()[1])


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.usefixtures("unmeasured")
async def test_a_worker_is_small(start_split: SplitStarter) -> None:
    """It carries no control plane, and less memory than promised."""
    split = await start_split(workers=1)
    (pid,) = split.supervisor.pids
    mapped = mapped_by(pid)
    for library in ("cryptography", "sqlite3", "pyexpat", "yaml"):
        assert library not in mapped, library
    assert resident_kib(pid) < LIMIT_MIB * 1024


async def test_without_a_supervisor_it_leaves(
    start_split: SplitStarter, reactor: Any
) -> None:
    """An orphan accepts nothing more and ends when its connections have."""
    split = await start_split()
    pids = split.supervisor.pids
    for member in split.supervisor.members:
        member.link.abort()
    while any(alive(pid) for pid in pids):
        await deferLater(reactor, 0.05)


@define
class Noting:
    """A reactor that notes for how long it is asked to wait, and its end."""

    reactor: Any
    waits_s: list[float] = field(factory=list)
    ended: Deferred[None] = field(factory=Deferred)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reactor, name)

    def callLater(self, delay_s: float, *rest: Any) -> Any:  # noqa: N802 - Twisted's
        self.waits_s.append(delay_s)
        return self.reactor.callLater(delay_s, *rest)

    def stop(self) -> None:
        self.ended.callback(None)


async def test_tables_are_read_beside_requests(reactor: Any) -> None:
    """From when requests may come on, a long part of a table is followed by a rest."""
    noting = Noting(reactor)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        worker = Worker(noting, [listening.dup()], [], whole_share())
        link, wire = worker.link(), StringTransport()
        link.makeConnection(wire)

        def say(message: Message, meaning: Meaning = Meaning.NEWS) -> None:
            frame = pack(meaning, 1, message)
            link.dataReceived(len(frame).to_bytes(4, "big") + frame)

        part = TablePart(1, exact={"x" * LONG_FRAME_BYTES: b"{}"})
        say(Configure({}), Meaning.QUESTION)
        say(part)
        await deferLater(reactor, 0)
        assert REST_S not in noting.waits_s
        say(Serve(), Meaning.QUESTION)
        say(part)
        assert REST_S in noting.waits_s
        await deferLater(reactor, REST_S)
        say(Leave(), Meaning.QUESTION)
        await noting.ended
        gc.unfreeze()  # what began to serve was a part of this process
