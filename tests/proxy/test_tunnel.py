"""Tunnels on real sockets: WebSocket on HTTP and HTTPS, tcp on the API."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from haloy.model.app import ProxyOptions
from haloy.proxy.interface import DrainLimits, Leftover
from tests.proxy.conftest import Running, Starter
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    asks_after_s,
    backend,
    connect,
    connect_tls,
    in_thread,
    table_of,
    upstream_of,
)

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: %b\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n"
)
ASK = UPGRADE % b"app.example.com"
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\n\r\n"
)

TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])


def dial(running: Running, tls: bool) -> Peer:
    return connect_tls(running.https) if tls else connect(running.http)


def echo(peer: Peer) -> None:
    """Accept the upgrade and echo to the end, then end."""
    assert b"Upgrade: websocket\r\n" in peer.head()
    peer.send(SWITCH)
    while data := peer.recv():
        peer.send(data)


@TLS
async def test_echo(start_proxy: Starter, tls: bool) -> None:
    """Bytes go both ways, and early ones are not lost on either side."""
    running = start_proxy(plain=not tls)

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH + b"early down ")
        while data := peer.recv():
            peer.send(data)

    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = dial(running, tls)
            peer.send(ASK + b"early up ")
            assert peer.head().startswith(b"HTTP/1.1 101 ")
            got = peer.exactly(len(b"early down early up "))
            peer.send(b"later")
            got += peer.exactly(5)
            peer.close()
            return got

        assert await in_thread(client) == b"early down early up later"
        await running.proxy.drain(upstream_of(one).key, DrainLimits(5.0, 5.0))
    record = running.records[0]
    assert (record.bytes_in, record.bytes_out) == (14, 25)


@TLS
async def test_the_end_of_the_app_reaches_the_client(
    start_proxy: Starter, tls: bool
) -> None:
    """A client learns that the app has closed, on TLS too (spec P1)."""
    running = start_proxy(plain=not tls)

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH + b"bye")

    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = dial(running, tls)
            peer.send(ASK)
            peer.head()
            return peer.rest()

        assert await in_thread(client) == b"bye"


@TLS
async def test_the_other_direction_goes_on_after_a_half_close(
    start_proxy: Starter, tls: bool
) -> None:
    """After the app has ended its direction it still gets what the client sends."""
    running = start_proxy(plain=not tls)
    heard: list[bytes] = []
    over = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH + b"done")
        peer.half_close()
        heard.append(peer.rest())
        over.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = dial(running, tls)
            peer.send(ASK)
            peer.head()
            # Bytes are on their way while the end of the app comes.
            peer.send(b"first ")
            got = peer.rest()
            peer.send(b"second")
            peer.close()
            assert over.wait(20)
            return got

        assert await in_thread(client) == b"done"
    assert heard == [b"first second"]


async def test_the_end_of_the_client_reaches_the_app(start_proxy: Starter) -> None:
    """A client that ends its direction still gets what the app sends."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH)
        peer.send(b"got " + peer.rest())

    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(ASK)
            peer.head()
            peer.send(b"all")
            peer.half_close()
            return peer.rest()

        assert await in_thread(client) == b"got all"
    record = running.records[0]
    assert (record.status, record.outcome) == (101, "done")
    assert (record.bytes_in, record.bytes_out) == (3, 7)


@TLS
async def test_back_pressure(start_proxy: Starter, tls: bool) -> None:
    """Neither side can fill our memory; all arrives when the other side reads."""
    running = start_proxy(plain=not tls)
    size = 6_000_000
    reading = threading.Event()
    stuck = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH)
        peer.socket.settimeout(0.5)
        sent = 0
        try:
            while sent < 60_000_000:
                sent += peer.socket.send(b"z" * 65536)
        except TimeoutError:
            stuck.set()
        assert stuck.is_set(), "nobody held the app back"
        reading.wait(20)
        peer.socket.settimeout(20)
        assert len(peer.exactly(size)) == size

    with backend(script) as one:
        await running.serve(one)

        def client() -> int:
            peer = dial(running, tls)
            peer.send(ASK)
            peer.head()
            assert stuck.wait(10)
            sender = threading.Thread(target=peer.send, args=(b"y" * size,))
            sender.start()
            reading.set()
            # Python's TLS takes one thread at a time.
            sender.join(20)
            return len(peer.rest())

        assert await in_thread(client) > 1_000_000


async def test_a_refusal_is_an_answer(start_proxy: Starter) -> None:
    """Any status but 101 is passed on as HTTP and nothing is tunnelled after it."""
    running = start_proxy()
    refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
    with backend(answering(refusal)) as one:
        await running.serve(one)

        def client() -> tuple[int, int]:
            peer = connect(running.http)
            peer.send(ASK + b"\x81\x85 no request\r\n\r\n")
            return peer.response()[0], peer.response()[0]

        assert await in_thread(client) == (403, 400)


async def test_other_upgrades_do_not_pass(start_proxy: Starter) -> None:
    """The request goes on as plain HTTP/1.1; a 101 all the same is a bad answer."""
    running = start_proxy()
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.head())
        peer.send(SWITCH)
        peer.recv()

    with backend(script) as one:
        await running.serve(one)

        def client() -> int:
            peer = connect(running.http)
            peer.send(
                b"GET / HTTP/1.1\r\nHost: app.example.com\r\n"
                b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
                b"HTTP2-Settings: AAA\r\n\r\n"
            )
            return peer.response()[0]

        assert await in_thread(client) == 502
    assert b"pgrade" not in seen[0]
    assert b"HTTP2" not in seen[0]


async def test_the_dial_is_tried_on_the_next_replica(start_proxy: Starter) -> None:
    """A replica that refuses costs a WebSocket nothing (spec P2)."""
    running = start_proxy()
    dead = Backend(echo)
    dead.close()
    with backend(echo) as one:
        await running.serve(dead, one)

        def client() -> None:
            for _ in range(2):
                peer = connect(running.http)
                peer.send(ASK)
                assert peer.head().startswith(b"HTTP/1.1 101 ")
                peer.close()

        await in_thread(client)


async def test_tunnels_of_the_api(start_proxy: Starter, tmp_path: Path) -> None:
    """C{Upgrade: tcp} passes to the API's tunnels and nowhere else."""
    running = start_proxy(plain=False)

    def script(peer: Peer) -> None:
        head = peer.head()
        if b"Upgrade: tcp\r\n" in head:
            peer.send(SWITCH.replace(b"websocket", b"tcp"))
            peer.send(peer.recv())
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def client(name: str) -> bytes:
        peer = connect_tls(running.https, name)
        peer.send(
            b"POST /v1/tunnel/app HTTP/1.1\r\nHost: %b\r\n"
            b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\nping" % name.encode()
        )
        head = peer.head()
        return head[9:12] + (peer.exactly(4) if b"101" in head else b"")

    with backend(script, tmp_path / "api.sock") as api, backend(script) as one:
        await running.serve(one, api=api)
        assert await in_thread(client, "api.example.com") == b"101ping"
        assert await in_thread(client, "app.example.com") == b"200"


async def test_tunnels_survive_changes_and_are_drained(start_proxy: Starter) -> None:
    """A table without the app leaves its tunnels alone; drain waits for them."""
    running = start_proxy()
    with backend(echo) as one:
        await running.serve(one)
        key = upstream_of(one).key

        def start() -> Peer:
            peer = connect(running.http)
            peer.send(ASK)
            peer.head()
            return peer

        def ping(peer: Peer) -> bytes:
            peer.send(b"ping")
            return peer.exactly(4)

        peer = await in_thread(start)
        assert running.proxy.stats().tunnels_active == 1
        await running.serve(table=table_of(generation=2))
        left = await running.proxy.drain(key, DrainLimits(1.0, 0.1))
        assert left == Leftover(0, 1)
        assert await in_thread(ping, peer) == b"ping"
        await in_thread(peer.close)
        left = await running.proxy.drain(key, DrainLimits(5.0, 5.0))
        assert left == Leftover(0, 0)
        assert running.proxy.stats().tunnels_active == 0


async def test_a_stop_ends_tunnels(start_proxy: Starter) -> None:
    """Clients of tunnels see the end when the proxy stops."""
    running = start_proxy()
    with backend(echo) as one:
        await running.serve(one)

        def start() -> Peer:
            peer = connect(running.http)
            peer.send(ASK)
            peer.head()
            return peer

        peer = await in_thread(start)
        await running.proxy.stopService()
        assert await in_thread(peer.is_closed)


async def test_dead_ends_of_a_tunnel_are_noticed(start_proxy: Starter) -> None:
    """Long before its idle limit TCP asks both ends whether they live."""
    running = start_proxy()
    with backend(echo) as one:
        await running.serve(one)

        def client() -> Peer:
            peer = connect(running.http)
            peer.send(ASK)
            peer.head()
            return peer

        peer = await in_thread(client)
        (tunnel,) = running.proxy._switch.tunnels
        (accepted,) = running.proxy._switch.clients
        assert asks_after_s(accepted.socket) == 150
        assert asks_after_s(tunnel._upstream.socket) == 150
        await in_thread(peer.close)


@TLS
async def test_a_silent_tunnel_ends(start_proxy: Starter, tls: bool) -> None:
    """A tunnel without a byte is ended at its limit, seen by both sides."""
    now = [1000.0]
    running = start_proxy(plain=not tls, clock=lambda: now[0])
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH)
        if peer.recv() == b"":
            ended.set()

    with backend(script) as one:
        await running.serve(one, options=ProxyOptions(tunnel_idle_s=100))

        def start() -> Peer:
            peer = dial(running, tls)
            peer.send(ASK)
            peer.head()
            return peer

        def see(peer: Peer) -> tuple[bool, bool]:
            return peer.is_closed(), ended.wait(20)

        peer = await in_thread(start)
        now[0] += 101
        assert await in_thread(see, peer) == (True, True)


@pytest.mark.parametrize("vanish", [Peer.close, Peer.reset])
async def test_the_app_learns_that_the_client_is_gone(
    start_proxy: Starter, vanish: Callable[[Peer], None]
) -> None:
    """A tunnel does not outlive its client."""
    running = start_proxy()
    ended = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH)
        try:
            peer.rest()
        finally:
            ended.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> bool:
            peer = connect(running.http)
            peer.send(ASK)
            peer.head()
            vanish(peer)
            return ended.wait(20)

        assert await in_thread(client)


@TLS
async def test_a_client_that_only_sends_learns_that_the_app_is_gone(
    start_proxy: Starter, tls: bool
) -> None:
    """When nothing can be passed in either direction the tunnel ends."""
    running = start_proxy(plain=not tls)

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCH)
        peer.exactly(4)

    with backend(script) as one:
        await running.serve(one)

        def client() -> bool:
            peer = dial(running, tls)
            peer.send(ASK)
            peer.head()
            peer.send(b"ping")
            try:
                for _ in range(500):
                    peer.send(b"and on")
                    threading.Event().wait(0.01)
            except OSError:
                return True
            return False

        assert await in_thread(client)
        left = await running.proxy.drain(upstream_of(one).key, DrainLimits(5.0, 5.0))
    assert left == Leftover(0, 0)
    assert running.records[0].outcome == "cut"
