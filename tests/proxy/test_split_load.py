"""The split form under load: reloads, crashes and new tables lose nothing."""

from __future__ import annotations

import itertools
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import deferLater

from haloy.model.app import Domain
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table
from tests.proxy.apps import OK, SWITCH, UPGRADE
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import (
    Backend,
    Peer,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
    table_of,
    upstream_of,
)
from tests.support.waiting import allowance

pytestmark = pytest.mark.slow

POST = b"POST / HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 4\r\n\r\nbody"
RELOADS = 20


def taking(peer: Peer) -> None:
    """Answer GET and POST."""
    while head := peer.head():
        if head.startswith(b"POST"):
            peer.exactly(4)
        peer.send(OK)


@define(eq=False)
class Clients:
    """Clients that ask all the time: kept and new connections, GET and POST."""

    port: int
    count: int = 8
    taken_s: list[float] = field(factory=list)
    failures: list[str] = field(factory=list)
    _stop: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        for number in range(self.count):
            thread = threading.Thread(target=self._ask, args=(number,))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _ask(self, number: int) -> None:
        peer: Peer | None = None
        request = POST if number % 4 == 3 else get()
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                peer = peer or connect(self.port)
                peer.send(request)
                status, fields, _ = peer.response()
                if status != 200:
                    self.failures.append(str(status))
                if fields.get("connection") == "close" or number % 2:
                    peer.close()
                    peer = None
            except (OSError, IndexError, ValueError) as problem:
                self.failures.append(repr(problem))
                peer = None
            self.taken_s.append(time.monotonic() - began_s)
            self._stop.wait(0.005)
        if peer is not None:
            peer.close()

    def p99_ms(self, since: int = 0) -> float:
        taken = sorted(self.taken_s[since:])
        return taken[int(len(taken) * 0.99)] * 1000 if taken else 0.0


@contextmanager
def asking(split: Split) -> Iterator[Clients]:
    clients = Clients(split.http)
    clients.start()
    try:
        yield clients
    finally:
        clients.stop()


def pss_kib(pid: int) -> float:
    """Return the memory of a process, shared pages by its part."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise AssertionError("no Pss")


async def reloaded(split: Split, reactor: Any) -> None:
    before = set(split.supervisor.pids)
    split.supervisor.reload()
    while set(split.supervisor.pids) & before or len(split.supervisor.pids) < 2:
        await deferLater(reactor, 0.02)


async def test_twenty_reloads(start_split: SplitStarter, reactor: Any) -> None:
    """None refused, none lost, on kept connections and new ones."""
    split = await start_split()
    with backend(taking) as one:
        await split.proxy.replace_table(table_of(one))
        with asking(split) as clients:
            for _ in range(RELOADS):
                await reloaded(split, reactor)
            await in_thread(clients.stop)
    print(f"{RELOADS} reloads, {len(clients.taken_s)} requests")
    assert clients.failures == []
    assert len(clients.taken_s) > RELOADS


async def test_killed_workers(start_split: SplitStarter, reactor: Any) -> None:
    """What a killed worker held is lost with it, and nothing else is refused."""
    split = await start_split()
    kills = 5
    with backend(taking) as one:
        await split.proxy.replace_table(table_of(one))
        with asking(split) as clients:
            for _ in range(kills):
                killed = split.supervisor.pids[0]
                os.kill(killed, signal.SIGKILL)
                while killed in split.supervisor.pids:
                    await deferLater(reactor, 0.01)
                while len(split.supervisor.pids) < 2:
                    await deferLater(reactor, 0.01)
            await in_thread(clients.stop)
    assert not [one for one in clients.failures if "Refused" in one]
    assert len(clients.failures) <= kills * clients.count


def thousand(generation: int, one: Backend) -> RouteTable:
    """Return a table of 1,000 apps; all are new in every tenth generation."""
    table, conflicts = build_table(
        generation,
        None,
        [
            RoutedApp(
                AppName(name),
                (Domain(DomainName(f"{name}.example.com")),),
                (Upstream(f"{name}-{generation // 10}", one.address),)
                if name != "app"
                else (upstream_of(one),),
            )
            for name in ("app", *(f"app{number}" for number in range(999)))
        ],
    )
    assert not conflicts
    return table


async def test_tables_of_a_thousand_routes(
    start_split: SplitStarter, reactor: Any
) -> None:
    """Swapped ten times a second under load: every request is answered."""
    split = await start_split()
    with backend(taking) as one:
        tables = [thousand(number, one) for number in range(31)]
        await split.proxy.replace_table(tables[0])
        with asking(split) as clients:
            clients.failures.clear()
            await deferLater(reactor, 1.0)
            quiet_ms, since = clients.p99_ms(), len(clients.taken_s)
            for table in tables[1:]:
                began_s = time.monotonic()
                await split.proxy.replace_table(table)
                left_s = 0.1 - (time.monotonic() - began_s)
                await deferLater(reactor, max(0.0, left_s))
            await in_thread(clients.stop)
    print(f"p99 {quiet_ms:.1f} ms before, {clients.p99_ms(since):.1f} ms meanwhile")
    assert clients.failures == []
    assert split.proxy.stats().generation == 30


LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n" + b"z" * 4_000_000


def giving(peer: Peer) -> None:
    """Answer with little, with much, or by a tunnel with much in it."""
    while head := peer.head():
        if b"/large" in head:
            peer.socket.settimeout(60)
            peer.send(LARGE)
        elif b"/ws" in head:
            peer.socket.settimeout(60)
            peer.send(SWITCH + LARGE)
        else:
            peer.send(OK)


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Have as many as one may: here, and in what is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("unmeasured", "many_descriptors")
@pytest.mark.parametrize(
    ("kind", "count", "limit_kib"),
    [
        ("idle", 5000, 40),
        ("idle, TLS", 100, 40),
        ("stalled", 20, 256),
        ("stalled, TLS", 20, 256),
        ("stalled tunnel", 20, 256),
    ],
)
async def test_memory_of_connections(
    start_split: SplitStarter, kind: str, count: int, limit_kib: int
) -> None:
    """Idle ones and readers that stall need little, and hold up nobody."""
    split = await start_split(workers=1, plain="TLS" not in kind)
    if "TLS" in kind:
        await split.proxy.replace_certificates((certificate(),))
    (pid,) = split.supervisor.pids

    # One client may not have so many.
    sources = itertools.cycle(f"127.0.0.{number}" for number in range(1, 11))

    def dial() -> Peer:
        if "TLS" in kind:
            return connect_tls(split.https)
        return connect(split.http, next(sources))

    def ask(peer: Peer) -> float:
        began_s = time.monotonic()
        peer.send(get())
        assert peer.response()[0] == 200
        return time.monotonic() - began_s

    def begin() -> Peer:
        peer = dial()
        if kind.startswith("idle"):
            ask(peer)
            return peer
        peer.send(UPGRADE if "tunnel" in kind else get(target="/large"))
        assert peer.socket.recv(10)
        return peer

    def clients() -> tuple[float, float]:
        ask(dial())
        before = pss_kib(pid)
        for _ in range(count):
            begin()
        threading.Event().wait(0.5)
        each = (pss_kib(pid) - before) / count
        assert len(os.listdir(f"/proc/{pid}/fd")) > count
        return each, min(ask(dial()) for _ in range(5))

    with backend(giving) as one:
        await split.proxy.replace_table(table_of(one))
        each_kib, answer_s = await in_thread(clients)
    print(f"{kind}: {each_kib:.1f} KiB each, a new GET {answer_s * 1000:.1f} ms")
    assert each_kib < limit_kib
    assert answer_s < 0.05 * allowance()
