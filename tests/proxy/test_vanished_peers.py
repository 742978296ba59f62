"""Peers whose host is gone: not a packet comes from it any more, not even an end.

They are on a host of the test's own that loses its packets. TCP's own times are made
shorter on the proxy's sockets, by a factor, so that what the proxy has not set stays as
long as Linux has it: two hours, or a quarter of one.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.task import deferLater

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.descriptor import Descriptor
from haloy.proxy.interface import DrainLimits, Leftover
from tests.proxy.apps import OK
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.test_trunk import answer, server
from tests.proxy.support import (
    Peer,
    asks_after_s,
    backend,
    get,
    in_thread,
    table_of,
    tls_on,
    upstream_of,
)
from tests.proxy.test_tunnel import ASK, SWITCH
from tests.support.elsewhere import OtherHost, other_host

pytestmark = pytest.mark.docker  # not of it, but as root like it

#: By so much TCP is hurried, in which case it has noticed after three seconds or so.
FACTOR = 75
LIMIT_S = 10.0
STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def elsewhere() -> Iterator[OtherHost]:
    """Give another host."""
    with other_host() as host:
        yield host


class App:
    """Switches, streams or answers by the path; what it goes on to say is told to it.

    C{begun} and C{ended}: connections on which it has spoken, and that are over for it.
    """

    def __init__(self) -> None:
        self.peers: list[Peer] = []
        self.begun = threading.Semaphore(0)
        self.ended = threading.Semaphore(0)

    def __call__(self, peer: Peer) -> None:
        peer.socket.settimeout(LIMIT_S * 2)
        head = peer.head()
        if b"/once" in head:
            peer.send(OK)
        else:
            peer.send(SWITCH if b"Upgrade" in head else STREAM)
        self.peers.append(peer)
        self.begun.release()
        try:
            while peer.recv():
                pass
        finally:
            self.ended.release()


def hurry(reactor: Any) -> None:
    """Let TCP be as patient with every connection of the proxy as it is set, faster."""
    for one in reactor.getReaders():
        if isinstance(one, Descriptor) and one.socket.family == socket.AF_INET:
            assert asks_after_s(one.socket) == 150
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                one.socket.setsockopt(socket.IPPROTO_TCP, option, 1)
            one.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
            limit = one.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            one.socket.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit // FACTOR
            )


async def until(reactor: Any, condition: Callable[[], bool]) -> float:
    """Return after how many seconds it held."""
    began_s = time.monotonic()
    while not condition():
        assert time.monotonic() - began_s < LIMIT_S
        await deferLater(reactor, 0.02)
    return time.monotonic() - began_s


def is_free(running: Running) -> bool:
    """Whether nothing is under way and nobody holds a place at a replica."""
    stats = running.proxy.stats()
    pools = running.proxy._switch.pools.values()
    return (
        not stats.requests_active
        and not stats.tunnels_active
        and not any(pool.outstanding or pool.tunnels or pool.idle for pool in pools)
    )


def asked(begin: Callable[[], Peer], app: App, *requests: bytes) -> list[Peer]:
    """Return who has sent each of C{requests} and seen what the app began with."""
    peers = []
    for request in requests:
        peers.append(begin())
        peers[-1].send(request)
        assert app.begun.acquire(timeout=20)
        peers[-1].head()
    return peers


REQUESTS = (ASK, ASK, get(), get())


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
async def test_clients_that_vanish(
    start_proxy: Starter, elsewhere: OtherHost, reactor: Any, secure: bool
) -> None:
    """Each is noticed, whether something was on its way to it or not; a drain ends.

    With something on its way TCP asks no more whether the other lives.
    """
    app = App()
    here = f"{elsewhere.here}:0"
    running = start_proxy(http=here, https=here if secure else "")
    with backend(app) as one:
        await running.serve(one)

        def client() -> Peer:
            if secure:
                return tls_on(elsewhere.dial(running.https))
            return Peer(elsewhere.dial(running.http))

        await in_thread(asked, client, app, *REQUESTS)
        key = upstream_of(one).key
        await running.serve(table=table_of(generation=2))
        hurry(reactor)
        elsewhere.vanish()
        drained = running.proxy.drain(key, DrainLimits(LIMIT_S, LIMIT_S))
        app.peers[0].send(b"are you there?")
        app.peers[2].send(b"3\r\nyes\r\n")
        took_s = await until(reactor, lambda: is_free(running))
        assert await drained == Leftover(0, 0)
        for _ in REQUESTS:
            assert await in_thread(app.ended.acquire, True, 5)
    print(f"noticed after {took_s:.1f} s at {FACTOR} times the speed")


async def test_apps_that_vanish(
    start_proxy: Starter, elsewhere: OtherHost, reactor: Any
) -> None:
    """Each client sees its end, and a kept connection is not kept."""
    app = App()
    running = start_proxy()
    with backend(app, listening=elsewhere.listen()) as one:
        await running.serve(one)

        def client() -> Peer:
            return Peer(socket.create_connection(("127.0.0.1", running.http), 5))

        peers = await in_thread(asked, client, app, *REQUESTS[:3], get(target="/once"))
        hurry(reactor)
        elsewhere.vanish()
        await in_thread(peers[0].send, b"are you there?")
        took_s = await until(reactor, lambda: is_free(running))
        for peer in peers[:3]:
            assert await in_thread(peer.is_closed)
    print(f"noticed after {took_s:.1f} s at {FACTOR} times the speed")


async def test_an_app_by_http2_that_vanishes(
    start_proxy: Starter, elsewhere: OtherHost, reactor: Any
) -> None:
    """The one connection to it is given up: later requests do not wait on it, too."""
    running = start_proxy()
    script = server(lambda peer, one, count: peer.send(answer(one.stream)))

    def ask() -> tuple[int, float]:
        began_s = time.monotonic()
        peer = Peer(socket.create_connection(("127.0.0.1", running.http), 5))
        peer.socket.settimeout(LIMIT_S)
        peer.send(get(Connection="close"))
        return peer.response()[0], time.monotonic() - began_s

    with backend(script, listening=elsewhere.listen()) as one:
        options = ProxyOptions(protocol=Protocol.H2C)
        await running.serve(one, options=options)
        assert (await in_thread(ask))[0] == 200
        hurry(reactor)
        elsewhere.vanish()
        status, took_s = await in_thread(ask)
        (pool,) = running.proxy._switch.pools.values()
        assert pool.trunks == []
    print(f"{status} after {took_s:.1f} s at {FACTOR} times the speed")
    assert status in (502, 504)
