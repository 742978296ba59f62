"""Bodies both ways, streaming, pipelining: the driver of one request."""

from __future__ import annotations

import threading

import pytest

from tests.proxy.apps import OK
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    echoing,
    get,
    in_thread,
    parse_head,
)


@pytest.mark.parametrize("size", [0, 1, 70000, 3_000_000])
@pytest.mark.parametrize("tls", [False, True])
async def test_bodies_both_ways(start_proxy: Starter, size: int, tls: bool) -> None:
    """A body of any size arrives as it was sent, in both directions."""
    running = start_proxy(plain=not tls)
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)

    def script(peer: Peer) -> None:
        while head := peer.head():
            length = int(parse_head(b"x 1\r\n" + head)[1].get("content-length", "0"))
            got = peer.exactly(length)
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(got) + got)

    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https) if tls else connect(running.http)
            head = b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"
            peer.send(head + b"Content-Length: %d\r\n\r\n" % size + body)
            return peer.response()[2]

        assert await in_thread(client) == body
    assert running.records[0].bytes_in == running.records[0].bytes_out == size


@pytest.mark.parametrize("tls", [False, True])
async def test_chunked_bodies_both_ways(start_proxy: Starter, tls: bool) -> None:
    """Chunks are written anew; the payload is the same."""
    running = start_proxy(plain=not tls)

    def script(peer: Peer) -> None:
        while peer.head():
            got = peer.chunked()
            peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, len(got), 50000):
                part = got[start : start + 50000]
                peer.send(b"%x\r\n%b\r\n" % (len(part), part))
            peer.send(b"0\r\n\r\n")

    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https) if tls else connect(running.http)
            peer.send(
                b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for _ in range(10):
                peer.send(b"C350;ext=1\r\n" + b"y" * 50000 + b"\r\n")
            peer.send(b"0\r\nTrailer: x\r\n\r\n")
            return peer.response()[2]

        assert await in_thread(client) == b"y" * 500000


async def test_streaming_answers_are_not_held_back(start_proxy: Starter) -> None:
    """Each piece of an answer reaches the client when it comes."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        peer.send(b"data: 1\n\n")
        # Not before the client has read the first piece.
        assert second.wait(20)
        peer.send(b"data: 2\n\n")

    second = threading.Event()
    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(get())
            peer.head()
            got = peer.until(b"data: 1\n\n\r\n")
            second.set()
            return got + peer.until(b"0\r\n\r\n")

        assert (
            await in_thread(client)
            == b"9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        )


async def test_pipelined_requests_are_answered_in_order(start_proxy: Starter) -> None:
    """Thousands of requests in one go are answered one after the other."""
    running = start_proxy()
    with backend(echoing) as one:
        await running.serve(one)

        def client() -> list[bytes]:
            peer = connect(running.http)
            for number in range(50):
                peer.send(get(target=f"/{number}"))
                peer.send(get(host="unknown.example") * 40)
            answers = []
            for _ in range(50):
                answers.append(peer.response()[2])
                for _ in range(40):
                    assert peer.response()[0] == 404
            return answers

        answers = await in_thread(client)
    assert [answer.split(b" ")[1] for answer in answers] == [
        b"/%d" % number for number in range(50)
    ]


async def test_expect_continue(start_proxy: Starter) -> None:
    """The upstream's 100 reaches the client, then the body goes up."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        assert b"Expect: 100-continue" in peer.head()
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert peer.exactly(3) == b"abc"
        peer.send(OK)

    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[bytes, int]:
            peer = connect(running.http)
            peer.send(
                b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"
                b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
            )
            interim = peer.head()
            peer.send(b"abc")
            return interim, peer.response()[0]

        assert await in_thread(client) == (b"HTTP/1.1 100 Continue\r\n\r\n", 200)


async def test_http10(start_proxy: Starter) -> None:
    """An old client is served, and its connection closed."""
    running = start_proxy()
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(b"GET / HTTP/1.0\r\nHost: app.example.com\r\n\r\n")
            return peer.rest()

        assert (await in_thread(client)).endswith(b"Connection: close\r\n\r\nhello")


async def test_a_client_that_only_half_closes_gets_its_answer(
    start_proxy: Starter,
) -> None:
    """The end of the client's sending is not the end of its reading."""
    running = start_proxy()
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(get() + get())
            peer.half_close()
            return peer.rest()

        assert (await in_thread(client)).count(b"hello") == 2
