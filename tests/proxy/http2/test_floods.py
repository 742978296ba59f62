"""Floods against a real proxy: what they cost, and what others feel of it.

Each is ended by GOAWAY, and who reads gets it; a tenth of a second of CPU and a quarter
of one for others are promised besides. Both are counted as what the thread of the proxy
ran, however much else the machine, the client and the app had to do meanwhile.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.descriptor import READ_BYTES
from haloy.proxy.http2 import frames
from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.sender import PROCESS_FULL_BYTES
from tests.proxy.apps import SHORT_OK
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.http2.support import GET, POST, block, frame, head, number, split
from tests.proxy.http2.test_shedding import App
from tests.proxy.support import answering, backend, in_thread
from tests.support.waiting import scheduled_s, slowness

LARGE = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n" + b"x" * 400000

CPU_S = 0.1
# Fifty thousand of these may still be an upload in small pieces.
CPU_OF_OCTETS_S = 0.2
LATENCY_S = 0.25
# More than any of them gets: ten thousand answers to pings.
SAID_BYTES = 1048576
# The client of the test is in the same process, and so is the app.
GROWTH_BYTES = 24 * 1048576


def resident_bytes() -> int:
    """Return how much memory this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def resets() -> list[bytes]:
    """Return rapid resets (CVE-2023-44487)."""
    return [
        head(n) + frame(frames.RST_STREAM, 0, n, number(frames.CANCEL))
        for n in range(1, 40001, 2)
    ]


def made_resets() -> list[bytes]:
    """Return requests that we have to reset ourselves (CVE-2025-8671)."""
    return [
        head(n) + frame(frames.WINDOW_UPDATE, 0, n, number(0))
        for n in range(1, 40001, 2)
    ]


def half_closed() -> list[bytes]:
    """Return requests with a body after their end."""
    return [head(n) + frame(frames.DATA, 0, n, b"x") for n in range(1, 40001, 2)]


def malformed() -> list[bytes]:
    """Return requests that are reset for their fields."""
    return [head(n, (*GET, ("X", "1"))) for n in range(1, 20001, 2)]


def continuations() -> list[bytes]:
    """Return a header block that never ends (CVE-2024-27316)."""
    return endless(b"", 50000)


def endless(piece: bytes, count: int) -> list[bytes]:
    start = frame(frames.HEADERS, 1, 1, block(GET))
    return [start, *[frame(frames.CONTINUATION, 0, 1, piece)] * count]


def bombs() -> list[bytes]:
    """Return blocks that call one large entry up again and again."""
    entry = b"\x40\x01a\x7f\x80\x1e" + b"a" * 3967
    return [
        frame(frames.HEADERS, 5, n, block(GET) + entry + b"\xbe" * 12000)
        for n in range(1, 201, 2)
    ]


def crumbs() -> list[bytes]:
    """Return heads of thousands of empty cookies."""
    return [
        frame(frames.HEADERS, 5, n, block(GET) + b"\x0f\x11\0" * 5000)
        for n in range(1, 401, 2)
    ]


def table_sizes() -> list[bytes]:
    """Return heads behind thousands of table sizes."""
    return [
        frame(frames.HEADERS, 5, n, b"\x20" * 16000 + block(GET))
        for n in range(1, 201, 2)
    ]


def unfinished() -> list[bytes]:
    """Return uploads that are begun and never ended."""
    return [head(n, POST, end=False) for n in range(1, 10001, 2)]


def small_data(payload: bytes, count: int) -> list[bytes]:
    """Return a body in the smallest pieces."""
    return [head(1, POST, end=False), *[frame(frames.DATA, 0, 1, payload)] * count]


def of(data: bytes, count: int) -> list[bytes]:
    return [data] * count


def churn() -> list[bytes]:
    """Return windows that are moved under a hundred open streams."""
    up = frame(frames.SETTINGS, 0, 0, frames.SETTING.pack(4, 65535))
    down = frame(frames.SETTINGS, 0, 0, frames.SETTING.pack(4, 0))
    opened = [head(n, POST, end=False) for n in range(1, 201, 2)]
    return [*opened, *[down + up] * 10000]


def dribble() -> list[bytes]:
    """Return a window that is opened octet by octet."""
    closed = frame(frames.SETTINGS, 0, 0, frames.SETTING.pack(4, 0))
    octet = frame(frames.WINDOW_UPDATE, 0, 1, number(1))
    return [closed, head(1), *[octet] * 40000]


# What is sent; each ends its connection.
FLOODS: dict[str, Callable[[], list[bytes]]] = {
    "rapid reset": resets,
    "resets that we make": made_resets,
    "bodies after the end": half_closed,
    "malformed requests": malformed,
    "CONTINUATION": continuations,
    "long CONTINUATION": lambda: endless(b"\x0f\x11\0" * 5000, 500),
    "HPACK bombs": bombs,
    "cookie crumbs": crumbs,
    "table sizes": table_sizes,
    "uploads without end": unfinished,
    "PING": lambda: of(frame(frames.PING, 0, 0, b"12345678"), 100000),
    "SETTINGS": lambda: of(frame(frames.SETTINGS), 50000),
    "windows that move": churn,
    "empty DATA": lambda: small_data(b"", 100000),
    "DATA of one octet": lambda: small_data(b"x", 60000),
    "PRIORITY": lambda: of(frame(frames.PRIORITY, 0, 9, bytes(5)), 100000),
    "WINDOW_UPDATE": lambda: of(frame(frames.WINDOW_UPDATE, 0, 0, number(1)), 100000),
    "windows by the octet": dribble,
    "unknown frames": lambda: of(frame(200), 100000),
}


# Those whose fields would be too long when they are unpacked say so.
WRONG = dict.fromkeys(
    ("HPACK bombs", "cookie crumbs", "table sizes"), frames.COMPRESSION_ERROR
)


class Probe:
    """A well-behaved client that asks again and again while others do not behave.

    @ivar worst_s: what the proxy, our main thread, worked while it waited longest.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._over = threading.Event()
        self.worst_s = 0.0
        self.worst_bytes = 0
        self.answers = 0
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def _ask(self) -> None:
        client = H2Client(self._port)
        while not self._over.wait(0.01):
            began_s = scheduled_s("self")[0]
            if client.get("/probe").status == 200:
                self.answers += 1
            self.worst_s = max(self.worst_s, scheduled_s("self")[0] - began_s)
            self.worst_bytes = max(self.worst_bytes, resident_bytes())
        client.close()

    def end(self) -> None:
        self._over.set()
        self._thread.join(10)


def attack(port: int, pieces: list[bytes]) -> int | None:
    """Send everything, and read meanwhile; return the code of GOAWAY.

    A connection that the proxy has closed is reset by what was still on its way; who
    reads all along has what was said before, and so has who gets no core meanwhile:
    there is room for it at the client. C{None}: there was no GOAWAY.
    """
    client = RawClient(port)
    tls = client.peer.socket
    tls.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SAID_BYTES)
    tls.setblocking(False)
    left = memoryview(b"".join(pieces))
    said = bytearray()
    while True:
        assert any(select.select([tls], [tls] if left else [], [], 60))
        try:
            while data := tls.recv(65536):
                said += data
            break
        except ssl.SSLWantReadError:
            pass
        except OSError:
            break
        try:
            left = left[tls.send(left[:65536]) :] if left else left
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            left = left[:0]
    codes = [
        frames.NUMBER.unpack_from(one.body, 4)[0]
        for one in split(bytes(said))
        if one.kind == frames.GOAWAY
    ]
    return codes[-1] if codes else None


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize("what", FLOODS)
async def test_a_flood_is_ended_and_nobody_else_feels_it(
    start_http2: Starter, what: str
) -> None:
    """GOAWAY, little CPU and memory, a prompt answer for others, nothing left."""
    running = start_http2()
    pieces = FLOODS[what]()
    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        probe = Probe(running.https)
        await until(lambda: probe.answers > 0)
        held = resident_bytes()
        began = time.thread_time()
        code = await in_thread(attack, running.https, pieces)
        spent = time.thread_time() - began
        before = probe.answers
        await until(lambda: probe.answers > before)
        await in_thread(probe.end)
        assert code == WRONG.get(what, frames.ENHANCE_YOUR_CALM)
        grown = probe.worst_bytes - held
        print(
            f"{what}: {spent:.3f} s CPU, others waited {probe.worst_s:.3f} s of it, "
            f"{grown / 1048576:.1f} MiB more"
        )
        limit_s = CPU_OF_OCTETS_S if what == "DATA of one octet" else CPU_S
        assert spent < limit_s * slowness()
        assert probe.worst_s < LATENCY_S * slowness()
        assert grown < GROWTH_BYTES
        switch = running.proxy._switch
        await until(lambda: not switch.clients)
        assert switch.waits == 0
        assert sum(switch.crowd.counts.values()) == 0
        await until(lambda: all(not pool.outstanding for pool in switch.pools.values()))


@pytest.mark.usefixtures("untraced")
async def test_a_flood_of_octets_to_an_app_that_chats(start_http2: Starter) -> None:
    """It is ended as soon as one to any other app."""
    running = start_http2()
    pieces = small_data(b"x", 60000)
    with backend(App()) as app:
        await running.serve(app, options=ProxyOptions(protocol=Protocol.H2C))
        began = time.thread_time()
        code = await in_thread(attack, running.https, pieces)
        spent = time.thread_time() - began
    print(f"{spent:.3f} s CPU")
    assert code == frames.ENHANCE_YOUR_CALM
    assert spent < CPU_OF_OCTETS_S * slowness()


@pytest.mark.parametrize("messages", [1, 1000])
async def test_calls_of_many_small_messages_are_no_flood(
    start_http2: Starter, messages: int
) -> None:
    """A hundred, each at once with its head, whole or open at first."""
    running = start_http2()
    fields = (*POST, ("content-type", "application/grpc"), ("te", "trailers"))
    said = b"\0\0\0\0\2hi"

    def talk() -> int | None:
        client = RawClient(running.https)
        for n in range(1, 201, 2):
            words = frame(frames.DATA, 0, n, said) * messages
            end = frame(frames.DATA, 1, n, said)
            client.send(head(n, fields, end=False), words)
            if n % 4 == 1:
                client.send(frame(frames.PING, 0, 0, bytes(8)))
                client.until(frames.PING)
            client.send(end)
            client.until(frames.HEADERS, n)
        client.peer.close()
        return client.goaway

    with backend(App(b"/")) as app:
        await running.serve(app, options=ProxyOptions(protocol=Protocol.H2C))
        assert await in_thread(talk) is None


@pytest.mark.parametrize("window", [0, frames.WINDOW_LIMIT])
async def test_stalled_downloads_hold_little(start_http2: Starter, window: int) -> None:
    """A hundred on one connection: little memory, and all of it comes back.

    The client opens no window, or any window, and reads nothing.
    """
    running = start_http2()

    def begin() -> RawClient:
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, window)
        client = RawClient(running.https, settings=settings)
        more = number(frames.WINDOW_LIMIT - frames.DEFAULT_WINDOW)
        client.send(frame(frames.WINDOW_UPDATE, 0, 0, more))
        client.send(*(client.get(n) for n in range(1, 201, 2)))
        return client

    with backend(answering(LARGE)) as app:
        await running.serve(app)
        client = await in_thread(begin)
        switch = running.proxy._switch
        await until(lambda: switch.waits > 1048576)
        (stalled,) = [one for one in switch.clients if isinstance(one, Http2Downstream)]
        streams = stalled.engine.streams
        await until(lambda: all(one.owner.waits for one in streams.values()))
        found = await in_thread(lambda: H2Client(running.https).get().status)
        assert found == 200
        # Above a mebibyte of the connection each stops a read earlier.
        assert stalled.waits < 100 * 150_000
        assert len(stalled.unsent or b"") < 1048576
        client.peer.close()
        await until(lambda: switch.waits == 0)


async def test_when_memory_is_short_who_holds_none_of_it_is_served(
    start_http2: Starter,
) -> None:
    """Who has much waiting begins nothing more, and of each less waits."""
    running = start_http2()

    def begin() -> RawClient:
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 0)
        client = RawClient(running.https, settings=settings)
        client.send(client.get(1))
        return client

    def more(client: RawClient) -> int:
        client.send(client.get(3))
        refused = client.until(frames.RST_STREAM, 3)
        return int(frames.NUMBER.unpack(refused.body)[0])

    with backend(answering(LARGE)) as app:
        await running.serve(app)
        client = await in_thread(begin)
        switch = running.proxy._switch
        await until(lambda: switch.waits > 65536)
        switch.waits += PROCESS_FULL_BYTES
        assert await in_thread(more, client) == frames.REFUSED_STREAM
        other = await in_thread(lambda: H2Client(running.https))
        assert (await in_thread(other.get)).status == 200
        late = await in_thread(begin)
        assert (await in_thread(other.get)).status == 200
        served = [one for one in switch.clients if isinstance(one, Http2Downstream)]
        await until(lambda: all(one.waits for one in served if one.engine.streams))
        assert (await in_thread(other.get)).status == 200
        held = sorted(one.waits for one in served)
        assert held[0] == 0
        # One read more than where it would stop, not as much as usual.
        assert held[1] <= 2 * READ_BYTES < held[2]
        assert not any(one.engine.may_grow for one in served)
        late.peer.close()
        switch.waits -= PROCESS_FULL_BYTES
        client.peer.close()
        await until(lambda: switch.waits == 0)


async def test_what_people_do_is_no_flood(start_http2: Starter) -> None:
    """A page with a hundred images, left three times; the next one is served."""
    running = start_http2()

    def talk() -> None:
        client = RawClient(running.https)
        for page in range(3):
            numbers = range(1 + 200 * page, 200 * (page + 1), 2)
            client.send(*(client.get(n, "/image") for n in numbers))
            client.send(
                *(
                    frame(frames.RST_STREAM, 0, n, number(frames.CANCEL))
                    for n in numbers
                )
            )
        client.send(client.get(601))
        assert client.status(601) == "200"
        assert client.goaway is None
        client.peer.close()

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        await in_thread(talk)


async def test_malformed_requests_a_few_at_a_time(start_http2: Starter) -> None:
    """Each is reset and costs two tokens, although none of them is one too many."""
    running = start_http2()

    def talk() -> tuple[int | None, int]:
        client = RawClient(running.https)
        seen = 0
        for start in range(1, 4001, 200):
            numbers = range(start, start + 200, 2)
            client.send(*(head(n, (*GET, ("X", "1"))) for n in numbers))
            expected = seen + 100
            while seen < expected and client.goaway is None:
                found = client.frame()
                assert found is not None
                seen += found.kind == frames.RST_STREAM
            if client.goaway is not None:
                break
        return client.goaway, seen

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        goaway, seen = await in_thread(talk)
    assert goaway == frames.ENHANCE_YOUR_CALM
    assert seen >= 400
