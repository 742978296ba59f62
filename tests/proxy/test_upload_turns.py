"""Uploads in chunks wait for their turn, and nothing of them is lost or mixed up."""

from __future__ import annotations

import random

import pytest

from haloy.proxy.downstream import Downstream
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import until
from tests.proxy.support import (
    Peer,
    backend,
    connect,
    connect_tls,
    echoing,
    in_thread,
)

HEAD = b"POST / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def body_of(size: int) -> tuple[bytes, bytes]:
    """Return a body of small chunks, and how they are sent, but for the last one."""
    chance = random.Random(1)
    body = chance.randbytes(size)
    framed = b""
    start = 0
    while start < size:
        piece = body[start : start + chance.randint(1, 9)]
        framed += b"%x\r\n%b\r\n" % (len(piece), piece)
        start += len(piece)
    return body, framed


async def waited(running: Running) -> None:
    """Wait until somebody has waited for a turn that was full, and had it."""
    await until(lambda: not running.proxy._switch.reading.full)


@pytest.mark.parametrize("plain", [True, False])
async def test_chunks_wait_and_are_read(start_proxy: Starter, plain: bool) -> None:
    """Behind the head and later, each time while others have the turn."""
    running = start_proxy(plain=plain)
    reading = running.proxy._switch.reading
    body, framed = body_of(30_000)
    parts = [framed[start : start + 20_000] for start in range(0, len(framed), 20_000)]

    def dial() -> Peer:
        return connect(running.http) if plain else connect_tls(running.https)

    with backend(echoing) as app:
        await running.serve(app)
        peer = await in_thread(dial)
        for _ in range(2):
            reading.full = True
            await in_thread(peer.send, HEAD + parts[0])
            await waited(running)
            for part in parts[1:]:
                reading.full = True
                await in_thread(peer.send, part)
                await waited(running)
            await in_thread(peer.send, LAST)
            status, _, echoed = await in_thread(peer.response)
            assert status == 200
            assert echoed.endswith(b"\r\n\r\n" + body)


async def test_who_leaves_while_it_waits(start_proxy: Starter) -> None:
    """Or who is dropped then, is gone, and others are served."""
    running = start_proxy()
    switch = running.proxy._switch
    _, framed = body_of(1000)

    def served() -> list[Downstream]:
        return [one for one in switch.clients if isinstance(one, Downstream)]

    with backend(echoing) as app:
        await running.serve(app)
        peer = await in_thread(connect, running.http)
        other = await in_thread(connect, running.http)
        await in_thread(peer.send, HEAD + framed)
        await in_thread(other.send, HEAD + framed)
        await until(lambda: sum(one.uploads_chunks for one in served()) == 2)
        switch.reading.full = True
        for one in served():
            one.doRead()
            assert one.waits_to_read
        peer.close()
        served()[0].drop()
        await until(lambda: not any(one.waits_to_read for one in served()))
        await in_thread(other.close)
        await until(lambda: not switch.clients)
        last = await in_thread(connect, running.http)
        await in_thread(last.send, HEAD + framed + LAST)
        assert (await in_thread(last.response))[0] == 200
