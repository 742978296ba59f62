"""Raw clients that do not behave.

After each case a good request on a new connection must still be answered, and the
backend must never have seen a request that nobody sent.
"""

from __future__ import annotations

import threading

import pytest

from tests.proxy.apps import OK, POST, Recorder, good
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
)
from tests.proxy.test_head import BAD_REQUESTS

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: app.example.com\r\n\r\n"


# On a connection an empty line ends a head, so that case is another one here.
BAD_HEADS = {name: case for name, case in BAD_REQUESTS.items() if name != "empty line"}


@pytest.mark.parametrize(("status", "block"), BAD_HEADS.values(), ids=BAD_HEADS.keys())
async def test_bad_heads(start_proxy: Starter, status: int, block: bytes) -> None:
    """A bad head gets its status and the end; nothing behind it is a request."""
    running = start_proxy()
    recorder = Recorder()
    with backend(recorder) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(block + b"\r\n\r\n" + SMUGGLED)
            return peer.rest()

        answer = await in_thread(client)
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.count(b"HTTP/1.1 ") == 1
        assert await good(running.http) == 200
    assert len(recorder.heads) == 1


BODIES: dict[str, tuple[bytes, bytes]] = {
    "bad size": (b"Transfer-Encoding: chunked", b"zz\r\nhello\r\n0\r\n\r\n"),
    "0x size": (b"Transfer-Encoding: chunked", b"0x5\r\nhello\r\n0\r\n\r\n"),
    "bare LF": (b"Transfer-Encoding: chunked", b"5\nhello\n0\n\n"),
    "LF in extension": (b"Transfer-Encoding: chunked", b"5;a\nb\r\nhello\r\n0\r\n\r\n"),
    "long data": (b"Transfer-Encoding: chunked", b"3\r\nhello\r\n0\r\n\r\n"),
    "negative size": (b"Transfer-Encoding: chunked", b"-5\r\nhello\r\n0\r\n\r\n"),
    "size overflow": (
        b"Transfer-Encoding: chunked",
        b"fffffffffffffffff5\r\nhello\r\n0\r\n\r\n",
    ),
}


@pytest.mark.parametrize(("field", "body"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
async def test_bad_bodies(
    start_proxy: Starter, field: bytes, body: bytes, apart: bool
) -> None:
    """A bad body gets 400; the backend sees no end of it and no second request."""
    running = start_proxy()
    recorder = Recorder()
    with backend(recorder) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            head = POST + field + b"\r\n\r\n"
            if apart:
                peer.send(head)
                peer.send(body + SMUGGLED)
            else:
                peer.send(head + body + SMUGGLED)
            return peer.rest()

        answer = await in_thread(client)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1 ") == 1
        assert await good(running.http) == 200
    assert not any(b"smuggled" in head for head in recorder.heads)


async def test_a_client_that_leaves_inside_its_body(start_proxy: Starter) -> None:
    """The backend sees the cut, never a complete request."""
    running = start_proxy()
    ended = threading.Event()
    bodies: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.head()
        try:
            bodies.append(peer.rest())
        finally:
            ended.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> None:
            peer = connect(running.http)
            peer.send(POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            peer.close()
            assert ended.wait(20)

        await in_thread(client)
    assert not bodies or not bodies[0].endswith(b"0\r\n\r\n")
    assert running.records[0].outcome == "gone"


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "tls"])
async def test_a_client_that_resets_while_it_waits(
    start_proxy: Starter, plain: bool
) -> None:
    """Its request ends, and so does its upstream connection."""
    running = start_proxy(plain=plain)
    ended = threading.Event()
    asked = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        asked.set()
        try:
            peer.rest()
        finally:
            ended.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> None:
            peer = connect(running.http) if plain else connect_tls(running.https)
            peer.send(get())
            assert asked.wait(20)
            peer.reset()
            assert ended.wait(20)

        await in_thread(client)
    assert running.proxy.stats().requests_active == 0


async def test_a_client_in_single_bytes(start_proxy: Starter) -> None:
    """A request may come one byte at a time, if it comes in time."""
    running = start_proxy()
    with backend(Recorder()) as one:
        await running.serve(one)

        def client() -> int:
            peer = connect(running.http)
            for byte in POST + b"Content-Length: 3\r\n\r\nabc":
                peer.send(bytes([byte]))
            return peer.response()[0]

        assert await in_thread(client) == 200


async def test_a_request_after_the_last_one(start_proxy: Starter) -> None:
    """What comes after Connection: close is not a request."""
    running = start_proxy()
    recorder = Recorder()
    with backend(recorder) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(get(Connection="close") + SMUGGLED)
            return peer.rest()

        assert (await in_thread(client)).count(b"HTTP/1.1 ") == 1
    assert len(recorder.heads) == 1


async def test_garbage_on_the_tls_port(start_proxy: Starter) -> None:
    """Plain HTTP and noise on the TLS port end the connection and nothing else."""
    running = start_proxy(plain=False)
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client(data: bytes) -> bool:
            peer = connect(running.https)
            peer.send(data)
            return peer.is_closed() or True

        for data in (get(), b"\x16\x03\x01\xff\xff" + b"\0" * 4000, b"\x80" * 100):
            await in_thread(client, data)

        def fine() -> int:
            peer = connect_tls(running.https)
            peer.send(get())
            return peer.response()[0]

        assert await in_thread(fine) == 200
