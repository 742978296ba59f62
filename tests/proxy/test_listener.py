"""What happens when something runs out: descriptors, connections, room to wait."""

from __future__ import annotations

import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure

from haloy.errors import Conflict, InvalidValue
from haloy.model.app import Domain
from haloy.model.names import AppName, DomainName
from haloy.proxy.listener import (
    ALONE_TIMES,
    GIVE_WAY_S,
    Listener,
    open_sockets,
    parse_listen,
)
from haloy.proxy.routes import RoutedApp, build_table
from tests.proxy.apps import OK
from tests.proxy.conftest import SplitStarter, Starter
from tests.proxy.support import (
    Peer,
    answering,
    asks_after_s,
    backend,
    connect,
    get,
    in_thread,
    table_of,
    upstream_of,
)
from tests.proxy.turns import Turns


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Let this process open nothing more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(used) + 1, before[1]))
    taken: list[int] = []
    try:
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for one in taken:
            os.close(one)


async def test_no_descriptor_left(start_proxy: Starter) -> None:
    """Accepting pauses without a busy loop and goes on when there is room again.

    Told by a line a second; within a second of room all who waited are served.
    """
    running = start_proxy()
    with backend(answering(OK)) as one:
        await running.serve(one)
        # The clients connect before the limit: only the proxy's side is missing.
        clients = [socket.socket() for _ in range(8)]
        Peer.opened.extend(clients)
        for client in clients:
            client.setblocking(False)
        with capturedLogs() as lines, no_descriptor_left():
            for client in clients:
                client.connect_ex(("127.0.0.1", running.http))
            before = _cpu_s()
            await in_thread(threading.Event().wait, 1.4)
            assert running.proxy.stats().connections < len(clients)
            assert _cpu_s() - before < 0.3
        told = [one for one in lines if "accepting pauses" in one["log_format"]]
        assert 1 <= len(told) <= 2

        def use() -> list[int]:
            statuses = []
            for client in clients:
                client.setblocking(True)
                peer = Peer(client)
                peer.send(get())
                statuses.append(peer.response()[0])
            return statuses

        since_s = time.monotonic()
        assert await in_thread(use) == [200] * len(clients)
        # A quarter of a second is waited for; the rest is for a busy machine.
        assert time.monotonic() - since_s < 3


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def test_no_descriptor_left_for_an_upstream(start_proxy: Starter) -> None:
    """It is not the replica's fault: 503, nobody is ejected, and it passes."""
    running = start_proxy()
    failures: list[object] = []
    running.proxy.on_upstream_failure(failures.append)
    with backend(answering(OK)) as one:
        await running.serve(one)

        def use(peer: Peer) -> int:
            peer.send(get())
            return peer.response()[0]

        def hello() -> Peer:
            peer = connect(running.http)
            peer.send(get("unknown.example"))
            peer.response()
            return peer

        peer = await in_thread(hello)
        with no_descriptor_left():
            assert await in_thread(use, peer) == 503
        assert await in_thread(use, peer) == 200
    assert not failures


async def test_idle_connections_give_way(start_proxy: Starter) -> None:
    """Before a request fails for want of a descriptor, idle connections are closed."""
    running = start_proxy()
    with backend(answering(OK)) as one, backend(answering(OK)) as two:
        table, _ = build_table(
            1,
            None,
            [
                RoutedApp(
                    AppName(name),
                    (Domain(DomainName(f"{name}.example.com")),),
                    (upstream_of(app),),
                )
                for name, app in (("one", one), ("two", two))
            ],
        )
        await running.serve(table=table)

        def ask(peer: Peer, name: str) -> int:
            peer.send(get(f"{name}.example.com"))
            return peer.response()[0]

        peer = connect(running.http)
        assert await in_thread(ask, peer, "one") == 200
        with no_descriptor_left():
            assert await in_thread(ask, peer, "two") == 200
        assert await in_thread(ask, peer, "one") == 200
        assert (one.connections, two.connections) == (2, 1)


async def test_parked_requests_are_bounded(start_proxy: Starter) -> None:
    """More than can be held get 503 at once."""
    running = start_proxy()
    await running.serve()
    await running.proxy.park(AppName("app"), 30)

    def client() -> int:
        peers = [connect(running.http) for _ in range(257)]
        for peer in peers:
            peer.send(get())
        return peers[-1].response()[0]

    assert await in_thread(client) == 503
    await running.proxy.unpark(AppName("app"))


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        (":80", ("", 80)),
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:0", ("::1", 0)),
    ],
)
def test_listen_addresses(text: str, parsed: tuple[str, int]) -> None:
    """Host and port, with brackets around IPv6; an empty host is every address."""
    assert parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["80", "localhost:", "127.0.0.1:x", ":65536", ":-1"])
def test_bad_listen_addresses(text: str) -> None:
    """Anything else is refused by name."""
    with pytest.raises(InvalidValue):
        parse_listen(text)


def test_open_sockets() -> None:
    """Nothing is opened for nothing; sockets that are given are used."""
    assert open_sockets("") == []
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert open_sockets([bound]) == [bound]
        assert not bound.getblocking()
        port = bound.getsockname()[1]
        with pytest.raises(Conflict, match=f"port {port} of 127.0.0.1 is in use"):
            open_sockets(f"127.0.0.1:{port}")


def test_what_is_accepted_sends_at_once_and_notices_death() -> None:
    """It has TCP_NODELAY and keep-alive from the listening socket."""
    (listening,) = open_sockets("127.0.0.1:0")
    taken: list[socket.socket] = []
    listener = Listener(
        Turns(), listening, lambda one, peer: taken.append(one), lambda: True
    )
    listener.start()
    with socket.create_connection(("127.0.0.1", listener.port)):
        listener.doRead()
        (one,) = taken
        with one:
            assert one.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert asks_after_s(one) == 150
            assert not one.getblocking()
    listener.stop()


class TimedTurns(Clock):
    """A reactor whose time passes when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        turns = self.turns = Turns()
        self.addReader, self.removeReader = turns.addReader, turns.removeReader
        self.addWriter, self.removeWriter = turns.addWriter, turns.removeWriter


def test_who_has_enough_lets_others_go_first() -> None:
    """For a millisecond; what nobody has taken by then is taken, and it goes on so."""
    reactor: Any = TimedTurns()
    (listening,) = open_sockets("127.0.0.1:0")
    taken: list[socket.socket] = []
    enough = [False]
    listener = Listener(
        reactor,
        listening,
        lambda one, peer: taken.append(one),
        lambda: True,
        at_once=2,
        has_enough=lambda: enough[0],
    )
    listener.start()
    clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(7)]
    listener.doRead()
    assert len(taken) == 2
    enough[0] = True
    listener.doRead()
    assert len(taken) == 2
    assert listener not in reactor.turns.readers
    # What another worker takes meanwhile is not missed.
    other, _ = listening.accept()
    reactor.advance(GIVE_WAY_S)
    assert len(taken) == 4
    assert listener in reactor.turns.readers
    listener.doRead()
    reactor.advance(GIVE_WAY_S)
    assert len(taken) == 6
    listener.doRead()
    listener.stop()
    assert not reactor.getDelayedCalls()
    for one in (*taken, *clients, other):
        one.close()


async def test_two_workers_share_what_comes(start_split: SplitStarter) -> None:
    """Neither gets nearly all of 64 connections that come one after the other."""
    split = await start_split()
    with backend(answering(OK)) as one:
        await split.proxy.replace_table(table_of(one))

        def come() -> list[int]:
            before = [_descriptors(pid) for pid in split.supervisor.pids]
            for _ in range(64):
                peer = connect(split.http)
                peer.send(get("unknown.example"))
                assert peer.response()[0] == 404
            now = [_descriptors(pid) for pid in split.supervisor.pids]
            return [after - first for first, after in zip(before, now, strict=True)]

        has = await in_thread(come)
        assert sum(has) == 64
        assert min(has) >= 16, has


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_who_comes_alone_is_asked_about_seldom() -> None:
    """Nobody is looked for behind each; a crowd waits for that many turns at most."""
    (listening,) = open_sockets("127.0.0.1:0")
    clients: list[socket.socket] = []
    taken: list[socket.socket] = []
    asked: list[int] = []

    def may_take() -> bool:
        asked.append(len(taken))
        return True

    listener = Listener(
        Turns(), listening, lambda one, peer: taken.append(one), may_take
    )
    listener.start()

    def come(number: int) -> int:
        """Let so many come, and have one turn; return how many were taken."""
        where = ("127.0.0.1", listener.port)
        clients.extend(socket.create_connection(where, 5) for _ in range(number))
        before = len(taken)
        listener.doRead()
        return len(taken) - before

    assert [come(1) for _ in range(9)] == [1] * 9
    assert len(asked) == 9 + 3
    assert [come(9), *(come(0) for _ in range(ALONE_TIMES))] == [1, 1, 1, 6]
    assert come(5) == 5
    listener.stop()
    for one in (*clients, *taken):
        one.close()


def test_a_fault_with_one_client_does_not_end_accepting(
    logged_failures: list[Failure],
) -> None:
    """That one is lost, and a line says so; the next one is taken."""
    (listening,) = open_sockets("127.0.0.1:0")
    taken: list[str] = []

    def take(connection: socket.socket, peer: str) -> None:
        taken.append(peer)
        if len(taken) == 1:
            raise ValueError("not this one")
        connection.close()

    listener = Listener(Turns(), listening, take, lambda: True)
    listener.start()
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", listener.port), 5) as client:
            listener.doRead()
            assert not client.recv(1)
    assert len(taken) == 2
    (told,) = logged_failures
    assert told.type is ValueError
    logged_failures.clear()
    listener.stop()
