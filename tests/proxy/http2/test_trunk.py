"""Connections to apps that speak h2c, with scripted servers: what these may ask for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from haloy.proxy.http2.engine import Engine
from haloy.proxy.pool import IDLE_TIMEOUT_S
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import Answer, H2Client, RawClient, until
from tests.proxy.http2.support import POST, Frame, block, frame, head, number, split
from tests.proxy.support import Backend, Peer, answering, backend, in_thread

OPTIONS = ProxyOptions(protocol=Protocol.H2C)


def answer(stream: int, text: bytes = b"ok") -> bytes:
    head = frame(frames.HEADERS, 4, stream, block(((":status", "200"),)))
    return head + frame(frames.DATA, 1, stream, text)


def server(
    asked: Callable[[Peer, Frame, int], None], settings: bytes = b""
) -> Callable[[Peer], None]:
    """Return a script that calls C{asked} with each HEADERS and its number, from 0."""

    def script(peer: Peer) -> None:
        assert peer.exactly(24) == frames.PREFACE
        peer.send(frame(frames.SETTINGS, 0, 0, settings))
        count = 0
        while len(start := peer.exactly(9)) == 9:
            length, flags, stream = frames.HEADER.unpack(start)
            one = Frame(length & 0xFF, flags, stream, peer.exactly(length >> 8))
            if one.kind == frames.HEADERS:
                asked(peer, one, count)
                count += 1

    return script


async def served(running: Running, app: Backend) -> None:
    await running.serve(app, options=OPTIONS)


async def test_what_a_replica_has_refused_goes_out_again(
    start_http2: Starter,
) -> None:
    """REFUSED_STREAM: it has not looked at the request (RFC 9113 section 8.7)."""
    seen: list[int] = []

    def asked(peer: Peer, one: Frame, count: int) -> None:
        seen.append(one.stream)
        if count == 0:
            peer.send(frame(frames.RST_STREAM, 0, one.stream, number(7)))
        else:
            peer.send(answer(one.stream))

    running = start_http2()
    with backend(server(asked)) as app:
        await served(running, app)
        found = await in_thread(lambda: H2Client(running.https).get())
        assert (found.status, found.body) == (200, b"ok")
        assert seen == [1, 3]
        assert app.connections == 1


async def test_what_a_replica_refuses_again_is_given_up(start_http2: Starter) -> None:
    """It goes out twice and is answered with 502, however often it would be refused."""
    seen: list[int] = []

    def asked(peer: Peer, one: Frame, count: int) -> None:
        seen.append(one.stream)
        peer.send(frame(frames.RST_STREAM, 0, one.stream, number(7)))

    running = start_http2()
    with backend(server(asked)) as app:
        await served(running, app)
        found = await in_thread(lambda: H2Client(running.https).get())
        assert found.status == 502
        assert seen == [1, 3]


async def test_a_replica_that_says_goodbye(start_http2: Starter) -> None:
    """What it has taken ends there; what it has not goes out on a new connection."""
    both = threading.Event()
    connections: list[Peer] = []

    def asked(peer: Peer, one: Frame, count: int) -> None:
        if peer not in connections:
            connections.append(peer)
        if len(connections) == 2:
            peer.send(answer(one.stream, b"new"))
        elif count == 1:
            peer.send(frame(frames.GOAWAY, 0, 0, number(1) + number(0)))
            peer.send(answer(1, b"old"))
            both.set()

    running = start_http2()
    with backend(server(asked)) as app:
        await served(running, app)

        def talk() -> list[bytes]:
            client = H2Client(running.https)
            streams = [client.ask("/1"), client.ask("/2")]
            return [client.answer(stream).body for stream in streams]

        assert await in_thread(talk) == [b"old", b"new"]
        assert both.is_set()
        assert app.connections == 2
        (pool,) = running.proxy._switch.pools.values()
        await until(lambda: len(pool.trunks) == 1)


async def test_no_more_streams_than_a_replica_takes(start_http2: Starter) -> None:
    """MAX_CONCURRENT_STREAMS of 1: the second request has its own connection."""
    waiting: list[tuple[Peer, int]] = []

    def asked(peer: Peer, one: Frame, count: int) -> None:
        if one.stream == 1 and not waiting and app.connections == 1:
            peer.send(answer(1))
            return
        waiting.append((peer, one.stream))
        if len(waiting) == 2:
            for each, stream in waiting:
                each.send(answer(stream))

    running = start_http2()
    limit = frames.SETTING.pack(frames.MAX_CONCURRENT_STREAMS, 1)
    with backend(server(asked, limit)) as app:
        await served(running, app)
        client = await in_thread(lambda: H2Client(running.https))
        # The first answer brings the limit with it.
        assert (await in_thread(client.get)).status == 200
        streams = [await in_thread(client.ask) for _ in range(2)]
        for stream in streams:
            assert (await in_thread(client.answer, stream)).status == 200
        assert sorted(stream for _, stream in waiting) == [1, 3]
        assert app.connections == 2


def taking(limit: int, told: threading.Event) -> Callable[[Peer], None]:
    """Return a script that takes C{limit} calls of a connection, and says so late."""

    def script(peer: Peer) -> None:
        taken: list[int] = []

        def asked(peer: Peer, one: Frame, count: int) -> None:
            if len(taken) == limit:
                peer.send(frame(frames.RST_STREAM, 0, one.stream, number(7)))
                return
            taken.append(one.stream)
            if len(taken) == limit:
                peer.send(b"".join(answer(stream) for stream in taken))
                taken.clear()

        assert told.wait(10)
        server(asked, frames.SETTING.pack(frames.MAX_CONCURRENT_STREAMS, limit))(peer)

    return script


async def test_calls_at_the_start_wait_for_what_a_replica_takes(
    start_http2: Starter,
) -> None:
    """None is refused, as a body that has gone cannot be sent again."""
    running = start_http2()
    told = threading.Event()
    with backend(taking(5, told)) as app:
        await served(running, app)

        def talk() -> list[int]:
            client = H2Client(running.https)
            streams = [
                client.ask(method="POST", fields=CALL, body=b"\0\0\0\0\0")
                for _ in range(20)
            ]
            client.ping()
            told.set()
            return [client.answer(stream).status for stream in streams]

        assert await in_thread(talk) == [200] * 20
        assert app.connections <= 4


async def test_what_came_before_a_replica_was_there(start_http2: Starter) -> None:
    """A client that has used up its window gets more, and waits for nothing else."""
    running = start_http2()
    told = threading.Event()
    window, full = frames.DEFAULT_WINDOW, bytes(frames.FRAME_BYTES)
    last = bytes(window % frames.FRAME_BYTES)

    def script(peer: Peer) -> None:
        assert told.wait(10)
        server(lambda peer, one, count: None)(peer)

    def talk() -> int:
        client = RawClient(running.https)
        client.send(head(1, (*POST, *CALL), end=False))
        client.send(frame(frames.DATA, 0, 1, full) * (window // len(full)))
        client.send(frame(frames.DATA, 0, 1, last), frame(frames.PING, 0, 0, bytes(8)))
        client.until(frames.PING)
        told.set()
        return client.until(frames.WINDOW_UPDATE, 1).stream

    with backend(script) as app:
        await served(running, app)
        assert await in_thread(talk) == 1


@pytest.mark.parametrize("what", ["no streams", "goodbye", "the end", "nothing"])
async def test_a_replica_that_takes_no_requests(
    start_http2: Starter, what: str
) -> None:
    """It is asked once, and nothing of it is kept."""
    running = start_http2()

    def script(peer: Peer) -> None:
        peer.exactly(24)
        limit = frames.SETTING.pack(frames.MAX_CONCURRENT_STREAMS, 0)
        if what == "no streams":
            peer.send(frame(frames.SETTINGS, 0, 0, limit))
        elif what == "goodbye":
            peer.send(frame(frames.SETTINGS) + frame(frames.GOAWAY, 0, 0, bytes(8)))
        if what != "the end":
            peer.until(b"impossible")

    options = ProxyOptions(protocol=Protocol.H2C, connect_timeout_s=0.3)
    with backend(script) as app:
        await running.serve(app, options=options)
        found = await in_thread(lambda: H2Client(running.https).get())
        assert found.status == (504 if what == "nothing" else 502)
        assert app.connections == 1
        (pool,) = running.proxy._switch.pools.values()
        assert pool.ejected_until > 0.0
        await until(lambda: not pool.trunks or what == "nothing")


async def test_a_connection_that_nobody_uses_is_closed(start_http2: Starter) -> None:
    """After the time that HTTP/1.1 has; not while a request is under way."""
    held = threading.Event()
    ended = threading.Event()

    def asked(peer: Peer, one: Frame, count: int) -> None:
        if count == 1:
            held.set()
            return
        peer.send(answer(one.stream))

    def script(peer: Peer) -> None:
        server(asked)(peer)
        ended.set()

    running = start_http2()
    with backend(script) as app:
        await served(running, app)
        client = await in_thread(lambda: H2Client(running.https))
        assert (await in_thread(client.get)).status == 200
        stream = await in_thread(client.ask)
        await in_thread(held.wait, 10)
        switch = running.proxy._switch
        (pool,) = switch.pools.values()

        def passed(limits: float) -> int:
            """Let so many times the limit pass; return how many stand then."""
            now_s = switch.wheel.now_s
            switch.wheel.now_s = now_s + limits * IDLE_TIMEOUT_S
            switch.tick()
            switch.wheel.now_s = now_s
            return len(pool.trunks)

        for limits in (1, 2, 3, 0):
            assert passed(limits) == 1
        await in_thread(client.cancel, stream)
        await until(lambda: pool.outstanding == 0)
        assert passed(0.5) == 1
        assert passed(1.5) == 0
        assert await in_thread(ended.wait, 10)


async def test_answers_that_clients_do_not_take_are_counted(
    start_http2: Starter,
) -> None:
    """With what waits in the process: here, and on the connection to the replica."""

    def asked(peer: Peer, one: Frame, count: int) -> None:
        peer.send(frame(frames.HEADERS, 4, one.stream, block(((":status", "200"),))))
        for _ in range(4):
            peer.send(frame(frames.DATA, 0, one.stream, bytes(15000)))

    running = start_http2()
    with backend(server(asked)) as app:
        await served(running, app)

        def begin() -> RawClient:
            settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 0)
            client = RawClient(running.https, settings=settings)
            client.send(*(client.get(stream) for stream in range(1, 101, 2)))
            return client

        client = await in_thread(begin)
        switch = running.proxy._switch
        (pool,) = switch.pools.values()
        await until(lambda: switch.waits == 50 * 60000)
        assert sum(trunk.engine.held_bytes for trunk in pool.trunks) > 0
        client.peer.close()
        await until(lambda: switch.waits == 0)
        assert [trunk.engine.held_bytes for trunk in pool.trunks] == [0]


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold"
CALL = [("content-type", "application/grpc"), ("te", "trailers")]


def called(running: Running, body: bytes = b"\0\0\0\0\0") -> bytes:
    """Make a call of gRPC and return the body of the answer."""
    client = H2Client(running.https)
    found = client.get("/Some/call", method="POST", fields=CALL, body=body)
    client.close()
    assert found.status == 200
    return found.body


async def test_an_answer_before_the_end_of_its_request(start_http2: Starter) -> None:
    """It arrives whole, though its stream is reset right behind it."""

    def asked(peer: Peer, one: Frame, count: int) -> None:
        done = frame(frames.RST_STREAM, 0, one.stream, number(frames.NO_ERROR))
        peer.send(answer(one.stream, b"early") + done)

    running = start_http2()
    with backend(server(asked)) as app:
        await served(running, app)
        for _ in range(3):
            assert await in_thread(called, running, b"x" * 100_000) == b"early"
        assert app.connections == 1


async def test_a_call_goes_over_http2_where_the_rest_does_not(
    start_http2: Starter,
) -> None:
    """An app that says nothing of its protocol, and speaks both on one port."""
    # gRPC-Web is for HTTP/1.1, too.
    web = [("content-type", "application/grpc-web"), ("te", "trailers")]

    def asked(client: H2Client) -> Answer:
        return client.get(method="POST", fields=web)

    over_http2 = server(lambda peer, one, _: peer.send(answer(one.stream, b"new")))

    def script(peer: Peer) -> None:
        start = peer.exactly(4)
        peer.buffer = start + peer.buffer
        (over_http2 if start == b"PRI " else answering(OK))(peer)

    running = start_http2()
    with backend(script) as app:
        await running.serve(app)
        for _ in range(2):
            assert await in_thread(called, running) == b"new"
            client = await in_thread(lambda: H2Client(running.https))
            assert (await in_thread(client.get)).body == b"old"
            assert (await in_thread(asked, client)).body == b"old"
        assert app.connections == 2


@pytest.mark.parametrize("says", ["it is wrong", "nothing", "the end"])
async def test_a_call_of_an_app_that_speaks_http1_alone(
    start_http2: Starter, says: str
) -> None:
    """It sees the preface and nothing of the request, which comes over HTTP/1.1."""
    offered: list[bytes] = []
    greeting = Engine(client=True, now_s=0.0).take()

    def script(peer: Peer) -> None:
        start = peer.exactly(4)
        if start == b"PRI ":
            if says == "it is wrong":
                peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            if says != "the end":
                offered.append(start + peer.until(b"impossible"))
            else:
                offered.append(start + peer.exactly(len(greeting) - 4))
            return
        peer.buffer = start + peer.buffer
        assert b"content-type: application/grpc" in peer.head()
        assert peer.chunked() == b"\0\0\0\0\0"
        peer.send(OK)

    running = start_http2()
    options = ProxyOptions(connect_timeout_s=0.3)
    with backend(script) as app:
        await running.serve(app, options=options)
        for _ in range(3):
            assert await in_thread(called, running) == b"old"
        (pool,) = running.proxy._switch.pools.values()
        assert pool.ejected_until == 0.0
        await until(lambda: not pool.trunks)
        # It was asked once, and will be again after a while.
        await until(lambda: len(offered) == 1)
        goodbye = offered[0].removeprefix(greeting)
        assert not goodbye or split(goodbye)[0].kind == frames.GOAWAY
        pool.declined_until = 0.0
        assert await in_thread(called, running) == b"old"
        await until(lambda: len(offered) == 2)


async def test_an_app_is_read_when_it_is_its_turn(start_http2: Starter) -> None:
    """As clients are: while others wait it waits as well, until it has gone.

    It could have us work on what it says for as long as it likes.
    """
    running = start_http2()
    with backend(server(lambda peer, one, count: peer.send(answer(one.stream)))) as app:
        await served(running, app)
        client = await in_thread(lambda: H2Client(running.https))
        assert (await in_thread(client.get)).status == 200
        (pool,) = running.proxy._switch.pools.values()
        (trunk,) = pool.trunks
        reading = running.proxy._switch.reading

        def waits() -> bool:
            return trunk.connection.waits_to_read

        asked = await in_thread(client.ask)
        await until(lambda: len(trunk.engine.streams) == 1 or len(running.records) == 2)
        reading.full = True
        trunk.connection.doRead()
        assert waits()
        assert (await in_thread(client.answer, asked)).status == 200
        await until(lambda: not waits())
        reading.full = True
        trunk.connection.doRead()
        trunk.drop()
        await until(lambda: not waits())
        assert (await in_thread(client.get)).status == 200
