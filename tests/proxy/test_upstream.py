"""Backends that do not behave: wrong answers, cuts, dead connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from haloy.proxy.downstream import Downstream
from haloy.proxy.exchange import Exchange
from haloy.proxy.forwarding import Forwarding
from tests.proxy.apps import OK, POST, Recorder
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import until
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
)


def saying(*parts: bytes, reset: bool = False) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.head()
        for part in parts:
            peer.send(part)
            time.sleep(0.02)  # noqa: TID251 - a thread of its own, not the reactor
        if reset:
            peer.reset()

    return script


BAD_ANSWERS = {
    "nothing": saying(),
    "garbage": saying(b"garbage\r\n\r\n"),
    "HTTP/2 frames": saying(b"\0\0\x12\x04\0\0\0\0\0"),
    "bad length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    "two lengths": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    ),
    "length and chunked": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "folded": saying(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    "bare LF": saying(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "half a head": saying(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
    "reset at once": saying(b"", reset=True),
    "reset in the head": saying(b"HTTP/1.1 200", reset=True),
    "101": saying(
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    ),
    "endless head": saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000),
    "splitting": saying(b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n"),
    "interim for ever": saying(b"HTTP/1.1 102 Wait\r\n\r\n" * 100),
}


@pytest.mark.parametrize("script", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_bad_answers(
    start_proxy: Starter, script: Callable[[Peer], None]
) -> None:
    """The client gets 502 and may go on; the connection is not used again."""
    running = start_proxy()
    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[int, int, int]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 0\r\n\r\n")
            first = peer.response()[0]
            peer.send(POST + b"Content-Length: 0\r\n\r\n")
            return first, peer.response()[0], one.connections

        assert await in_thread(client) == (502, 502, 2)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = {
    "length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    "length, reset": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", reset=True
    ),
    "chunked": saying(CHUNKED + b"9\r\nabc"),
    "between chunks": saying(CHUNKED + b"3\r\nabc\r\n"),
    "in the trailers": saying(CHUNKED + b"3\r\nabc\r\n0\r\n"),
    "bad chunk": saying(CHUNKED + b"3\r\nabc\r\nzz\r\n"),
    "until close, reset": saying(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", reset=True),
}


@pytest.mark.parametrize("script", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_answers_that_break_off(
    start_proxy: Starter, script: Callable[[Peer], None], tls: bool
) -> None:
    """The client sees that it is not complete: no last chunk, bytes missing."""
    running = start_proxy(plain=not tls)
    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https) if tls else connect(running.http)
            peer.send(get())
            try:
                return peer.rest()
            except OSError:
                return b""

        answer = await in_thread(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" in head:
            assert not body.endswith(b"0\r\n\r\n")
        else:
            assert len(body) < 9
    assert running.records[0].outcome == "cut"


async def test_a_cut_for_an_old_client_is_a_reset(start_proxy: Starter) -> None:
    """Where the end of the connection ends the body, a cut is a reset."""
    running = start_proxy()
    with backend(CUT["between chunks"]) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(b"GET / HTTP/1.0\r\nHost: app.example.com\r\n\r\n")
            return peer.rest()

        with pytest.raises(ConnectionResetError):
            await in_thread(client)


async def test_bytes_beyond_an_answer(start_proxy: Starter) -> None:
    """They do not become the answer to the next request."""
    running = start_proxy()
    with backend(
        answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    ) as one:
        await running.serve(one)

        def client() -> list[bytes]:
            peer = connect(running.http)
            bodies = []
            for _ in range(3):
                peer.send(get())
                bodies.append(peer.response()[2])
            return bodies

        assert await in_thread(client) == [b"hello"] * 3
    assert one.connections == 3


async def test_speech_on_an_idle_connection(start_proxy: Starter) -> None:
    """What a backend says while nobody asked is thrown away with its connection."""
    running = start_proxy()
    spoken = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)
        time.sleep(0.05)  # noqa: TID251 - a thread of its own, not the reactor
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        peer.is_closed()
        spoken.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[bytes, bytes]:
            peer = connect(running.http)
            peer.send(get())
            first = peer.response()[2]
            assert spoken.wait(20)
            peer.send(get())
            return first, peer.response()[2]

        assert await in_thread(client) == (b"hello", b"hello")
    assert one.connections == 2


async def test_a_backend_that_closes_idle_connections(start_proxy: Starter) -> None:
    """A connection that died while idle costs nobody a request, a POST either."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)

    with backend(script) as one:
        await running.serve(one)

        def client() -> list[int]:
            peer = connect(running.http)
            answers = []
            for _ in range(5):
                peer.send(POST + b"Content-Length: 0\r\n\r\n")
                answers.append(peer.response()[0])
                time.sleep(0.02)  # noqa: TID251 - a thread of its own
            return answers

        assert await in_thread(client) == [200] * 5
    assert one.connections == 5


class Stale:
    """Answers once on each connection and dies at the second request."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        self.requests.append(peer.head())
        peer.send(OK)
        second = peer.head()
        if second:
            self.requests.append(second)


async def test_a_stale_connection_is_tried_again(start_proxy: Starter) -> None:
    """An idempotent request on a dead pooled connection goes out once more."""
    running = start_proxy()
    stale = Stale()
    with backend(stale) as one:
        await running.serve(one)

        def client() -> tuple[int, int]:
            peer = connect(running.http)
            peer.send(get(target="/1"))
            first = peer.response()[0]
            peer.send(get(target="/2"))
            return first, peer.response()[0]

        assert await in_thread(client) == (200, 200)
    assert len(stale.requests) == 3


async def test_a_post_is_never_sent_twice(start_proxy: Starter) -> None:
    """The same for a POST is a 502: it may have been carried out."""
    running = start_proxy()
    stale = Stale()
    with backend(stale) as one:
        await running.serve(one)

        def client() -> tuple[int, int]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 0\r\nX: 1\r\n\r\n")
            first = peer.response()[0]
            peer.send(POST + b"Content-Length: 0\r\nX: 2\r\n\r\n")
            return first, peer.response()[0]

        assert await in_thread(client) == (200, 502)
    assert sum(b"X: 2" in head for head in stale.requests) == 1


async def test_an_app_that_keeps_no_connection_is_known(start_proxy: Starter) -> None:
    """After one that was closed just after its answer a POST gets a new one.

    An app that closes without saying so may be about to do it, on a busy machine 100 ms
    later: Debian's busybox, with a CGI script.
    """
    running = start_proxy()
    stale = Stale()
    with backend(stale) as one:
        await running.serve(one)

        def client() -> list[int]:
            answers = []
            peer = connect(running.http)
            for _ in range(5):
                peer.send(POST + b"Content-Length: 0\r\n\r\n")
                answers.append(peer.response()[0])
            return answers

        assert await in_thread(client) == [200, 502, 200, 200, 200]
    assert one.connections == 4


async def test_a_post_avoids_connections_that_have_been_idle(
    start_proxy: Starter,
) -> None:
    """After a second of idleness it goes out on a new connection."""
    now = [1000.0]
    running = start_proxy(clock=lambda: now[0])
    with backend(Recorder()) as one:
        await running.serve(one)

        def client() -> list[int]:
            peer = connect(running.http)
            counts = []
            for wait_s in (0.0, 0.0, 2.0):
                now[0] += wait_s
                peer.send(POST + b"Content-Length: 0\r\n\r\n")
                peer.response()
                counts.append(one.connections)
            peer.send(get())
            peer.response()
            return [*counts, one.connections]

        assert await in_thread(client) == [1, 1, 2, 2]


async def test_an_early_answer_to_an_upload(start_proxy: Starter) -> None:
    """It is delivered though the client is still sending; then the connection ends."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")

    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[int, dict[str, str], bytes]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 50000000\r\n\r\n")
            return peer.answer_to_upload(b"x" * 65536 * 200)

        status, fields, body = await in_thread(client)
    assert (status, fields["connection"], body) == (413, "close", b"no")


async def test_a_reset_that_a_write_was_told_of(start_proxy: Starter) -> None:
    """The kernel tells it once; what reading finds then is not taken for the end."""
    running = start_proxy()
    going = threading.Event()
    reset = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        going.wait(20)
        peer.reset()
        reset.set()

    with backend(script) as one:
        await running.serve(one)

        def begin() -> Peer:
            peer = connect(running.http)
            peer.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
            peer.until(b"part\r\n")
            return peer

        peer = await in_thread(begin)
        (client,) = running.proxy._switch.clients
        assert isinstance(client, Downstream)
        assert isinstance(client.driver, Forwarding)
        upstream = client.driver.upstream
        assert upstream is not None
        upstream.pause()
        going.set()
        assert reset.wait(20)
        upstream.send(b"1\r\ny\r\n")
        assert upstream.broken
        upstream.resume()
        assert await in_thread(peer.rest) == b""
    assert running.records[0].outcome == "cut"


MANY = 1000
SMALL = b"1\r\nx\r\n" * MANY
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </>\r\n" * 99 + b"\r\n"
ONE = CHUNKED + b"6000\r\n" + bytes(0x6000) + b"\r\n0\r\n\r\n"
IN_TURN = {
    "small chunks": (CHUNKED + SMALL + b"0\r\n\r\n", True),
    "hints": (HINT + OK, True),
    "one chunk": (ONE, False),
    "plain": (OK, False),
}


@pytest.mark.parametrize("what", IN_TURN)
async def test_whose_answers_take_long_to_read_is_read_in_turn(
    start_proxy: Starter, what: str
) -> None:
    """Many small chunks or many fields; of the rest nobody has to wait."""
    running = start_proxy()
    answer, in_turn = IN_TURN[what]
    with backend(answering(answer)) as app:
        await running.serve(app)
        assert (await in_thread(ask_past_hints, running.http)) == 200
        switch = running.proxy._switch
        (pool,) = switch.pools.values()
        assert pool.turns is (switch.reading if in_turn else None)


def ask_past_hints(port: int) -> int:
    peer = connect(port)
    peer.send(get())
    status, _, _ = peer.response()
    while status == 103:
        status, _, _ = peer.response()
    return status


async def test_connections_of_such_a_replica_wait_and_are_read(
    start_proxy: Starter,
) -> None:
    """While others have the turn, they are read a little at a time when it is theirs.

    Whatever becomes of them meanwhile.
    """
    running = start_proxy()
    parts = CHUNKED + SMALL, SMALL * 9 + b"0\r\n\r\n"
    told = threading.Event()

    def script(peer: Peer) -> None:
        while peer.head():
            peer.send(parts[0])
            assert told.wait(10)
            peer.send(parts[1])

    def begin() -> Peer:
        peer = connect(running.http)
        peer.send(get())
        return peer

    with backend(script) as app:
        await running.serve(app)
        switch = running.proxy._switch
        one, other = await in_thread(begin), await in_thread(begin)
        await until(lambda: all(pool.turns for pool in switch.pools.values()))
        (pool,) = switch.pools.values()
        await until(lambda: pool.outstanding == 2)
        clients = [one for one in switch.clients if isinstance(one, Downstream)]
        drivers = [client.driver for client in clients]
        upstreams = [one.upstream for one in drivers if isinstance(one, Forwarding)]
        await until(lambda: all(one.response_bytes for one in exchanges(drivers)))
        switch.reading.full = True
        told.set()
        for upstream in upstreams:
            assert upstream is not None
            upstream.doRead()
            assert upstream.waits_to_read
        other.close()
        status, _, body = await in_thread(one.response)
        assert (status, body) == (200, b"x" * MANY * 10)
        assert not any(one.waits_to_read for one in upstreams if one is not None)


def exchanges(drivers: Sequence[object]) -> list[Exchange]:
    return [one.exchange for one in drivers if isinstance(one, Forwarding)]
