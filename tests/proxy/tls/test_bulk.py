"""Large bodies to clients over TLS, which go through one buffer of the process."""

from __future__ import annotations

import hashlib
import os
import socket

import h2.events
import pytest

from haloy.proxy.descriptor import BULK_READ_BYTES, HIGH_MARK_BYTES
from haloy.proxy.http2 import frames
from haloy.proxy.http2.outgoing import HIGH_BYTES
from haloy.proxy.tls.bulk import (
    CARRIED_BYTES,
    CARRIED_LEAST_BYTES,
    FRAME_BYTES,
    TlsBulk,
)
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, tls_peer, until
from tests.proxy.http2.support import split
from tests.proxy.support import Peer, backend, get, in_thread

SIZE = 16_000_000
BODY = os.urandom(1_000_000) * 16
DIGEST = hashlib.sha256(BODY).hexdigest()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE


def send_body(peer: Peer, size: int) -> None:
    """Send the beginning of the body: the time that a peer has is for one call."""
    for start in range(0, size, 500_000):
        peer.send(BODY[start : min(start + 500_000, size)])


def download(peer: Peer) -> None:
    while peer.head():
        peer.send(HEAD)
        send_body(peer, SIZE)


class Downloader(H2Client):
    """A client that notes how large the frames of bodies are."""

    sizes: list[int]

    def _take(self, event: h2.events.Event) -> None:
        super()._take(event)
        if isinstance(event, h2.events.DataReceived):
            self.sizes.append(len(event.data))


def downloader(port: int, window: int = 65535) -> Downloader:
    client = Downloader(port, window=window)
    client.sizes = []
    return client


def open_connection(client: H2Client) -> None:
    """Leave it to the streams how much may come."""
    client.h2.increment_flow_control_window(1 << 28)
    client.flush()


@pytest.mark.parametrize(
    ("has", "most", "comes"),
    [
        (40_000, 100_000, 40_000),
        (40_000, FRAME_BYTES, FRAME_BYTES),
        (40_000, 2 * FRAME_BYTES + 9, 2 * FRAME_BYTES),
        (1, CARRIED_BYTES, 1),
    ],
)
def test_frames(has: int, most: int, comes: int) -> None:
    """What is read is framed, in order, whatever was in the buffer before."""
    tls_bulk = TlsBulk()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(BODY[100:200])
        assert tls_bulk.fill_frames(ours, CARRIED_BYTES, 9)[0] == 100
        theirs.sendall(BODY[:has])
        size, data = tls_bulk.fill_frames(ours, most, 5)
        found = split(bytes(data))
    assert size == comes
    assert b"".join(one.body for one in found) == BODY[:comes]
    assert {one[:3] for one in found} == {(frames.DATA, 0, 5)}
    assert [len(one.body) for one in found[:-1]] == [FRAME_BYTES] * (len(found) - 1)


def test_plain() -> None:
    """For HTTP/1.1 it is what was read, up to what is asked for; or the end."""
    tls_bulk = TlsBulk()
    ours, theirs = socket.socketpair()
    with ours:
        theirs.sendall(BODY[:1000])
        assert tls_bulk.fill(ours, 600) == BODY[:600]
        assert tls_bulk.fill(ours, 600) == BODY[600:1000]
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            tls_bulk.fill(ours, 1)
        theirs.close()
        assert not tls_bulk.fill(ours, 1)


async def test_http1(start_http2: Starter) -> None:
    """Every byte arrives and is counted, and both connections go on."""
    running = start_http2()

    def client() -> list[str]:
        peer = tls_peer(running.https, protocols=("http/1.1",))
        found = []
        for _ in range(2):
            peer.send(get())
            found.append(hashlib.sha256(peer.response()[2]).hexdigest())
        return found

    with backend(download) as one:
        await running.serve(one)
        assert await in_thread(client) == [DIGEST] * 2
    assert one.connections == 1
    assert [record.bytes_out for record in running.records] == [SIZE] * 2


async def test_http2_streams_side_by_side(start_http2: Starter) -> None:
    """Two large answers come whole, by turns, in frames that fill a record each."""
    running = start_http2()

    def client() -> tuple[list[str], list[int], int]:
        one = downloader(running.https, 1 << 24)
        open_connection(one)
        streams = [one.ask(), one.ask()]
        one.until(lambda: any(one.answers[stream].ended for stream in streams))
        behind = min(len(one.answers[stream].body) for stream in streams)
        bodies = [one.answer(stream).body for stream in streams]
        return [hashlib.sha256(body).hexdigest() for body in bodies], one.sizes, behind

    with backend(download) as app:
        await running.serve(app)
        digests, sizes, behind = await in_thread(client)
    assert digests == [DIGEST] * 2
    assert sizes.count(FRAME_BYTES) > 100
    assert behind > SIZE // 4
    assert [record.bytes_out for record in running.records] == [SIZE] * 2
    assert running.proxy._switch.waits == 0


@pytest.mark.parametrize("window", [65535, 100, 1 << 20])
async def test_http2_windows(start_http2: Starter, window: int) -> None:
    """No more is sent than the windows let through (the client counts)."""
    running = start_http2()
    size = min(SIZE, window * 40)

    def script(peer: Peer) -> None:
        while peer.head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
            send_body(peer, size)

    with backend(script) as app:
        await running.serve(app)
        body = await in_thread(lambda: downloader(running.https, window).get().body)
    assert body == BODY[:size]


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_a_slow_reader(start_http2: Starter, protocol: str) -> None:
    """What the kernel refuses waits, and comes in its place; little of it is held."""
    running = start_http2()
    switch = running.proxy._switch
    asked: list[Downloader | Peer] = []
    most_bytes = HIGH_MARK_BYTES + BULK_READ_BYTES
    if protocol == "h2":
        most_bytes = CARRIED_LEAST_BYTES + HIGH_BYTES + BULK_READ_BYTES

    def held_bytes() -> int:
        if protocol == "h2":  # what waits for the kernel is part of it
            return switch.waits
        return sum(len(one.unsent or b"") for one in tuple(switch.clients))

    def ask() -> None:
        if protocol == "h2":
            one = downloader(running.https, 1 << 24)
            open_connection(one)
            one.ask()
            asked.append(one)
            return
        peer = tls_peer(running.https, protocols=("http/1.1",))
        peer.send(get())
        asked.append(peer)

    def read() -> str:
        one = asked[0]
        body = one.answer(1).body if isinstance(one, H2Client) else one.response()[2]
        return hashlib.sha256(body).hexdigest()

    with backend(download) as app:
        await running.serve(app)
        await in_thread(ask)
        await until(lambda: held_bytes() > 0)
        assert held_bytes() <= most_bytes
        assert await in_thread(read) == DIGEST
    assert switch.waits == 0


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_a_download_that_breaks_off(start_http2: Starter, protocol: str) -> None:
    """The client has what came, and sees the cut."""
    running = start_http2()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(HEAD)
        send_body(peer, SIZE // 2)

    def client() -> tuple[int, bool]:
        if protocol == "h2":
            one = downloader(running.https, 1 << 24)
            open_connection(one)
            answer = one.get()
            return len(answer.body), answer.reset == frames.INTERNAL_ERROR
        peer = tls_peer(running.https, protocols=("http/1.1",))
        peer.send(get())
        peer.head()
        return len(peer.rest()), True

    with backend(script) as app:
        await running.serve(app)
        size, cut = await in_thread(client)
    assert (size, cut) == (SIZE // 2, True)
    assert [record.outcome for record in running.records] == ["cut"]
