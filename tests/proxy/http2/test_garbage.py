"""Requests to h2c apps leave nothing that only a look for garbage frees."""

from __future__ import annotations

import gc
import socket
import threading
from collections import Counter
from collections.abc import Callable

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.http2.support import frame, number
from tests.proxy.http2.test_grpc_fast_path import (
    ANSWERS,
    CALL,
    MESSAGE,
    Caller,
    scripted,
)
from tests.proxy.http2.test_shedding import App, stalled
from tests.proxy.support import Peer, backend, in_thread

PAUSE = threading.Event()


class Mortal(App):
    """An app whose connections can be cut."""

    def __init__(self) -> None:
        super().__init__(b"/small")
        self.sockets: list[socket.socket] = []

    def __call__(self, peer: Peer) -> None:
        self.sockets.append(peer.socket)
        super().__call__(peer)


def answered(port: int, app: Mortal) -> None:
    client = H2Client(port, window=1 << 20)
    for path in ("/small", "/large"):
        assert client.get(path).status == 200
    client.close()


def taken_back(port: int, app: Mortal) -> None:
    client = RawClient(port)
    for n in range(1, 9, 2):
        client.send(client.get(n), frame(frames.RST_STREAM, 0, n, number(8)))
    client.send(frame(frames.PING, 0, 0, bytes(8)))
    client.until(frames.PING)
    client.peer.close()


def left(port: int, app: Mortal) -> None:
    client = stalled(port, 10)
    PAUSE.wait(0.3)
    client.peer.close()


def lost(port: int, app: Mortal) -> None:
    client = stalled(port, 10)
    PAUSE.wait(0.3)
    app.sockets[-1].shutdown(socket.SHUT_RDWR)
    PAUSE.wait(0.1)
    client.peer.close()


def posted(port: int, app: Mortal) -> None:
    client = H2Client(port)
    for path, size in (("/small", 5), ("/small", 200_000), ("/small", 0)):
        assert client.get(path, method="POST", body=bytes(size)).status == 200
    # Of these the app gets no end.
    streams = [client.ask("/small", "POST", body=None) for _ in range(4)]
    for stream in streams:
        client.upload(
            stream, bytes(100_000 if stream == streams[0] else 100), end=False
        )
    client.ping()
    client.cancel(streams[0])
    client.ping()
    client.close()


async def nothing_is_left(running: Running, scene: Callable[[], None]) -> None:
    """Hold C{scene}, which ends its connections, to that."""
    switch = running.proxy._switch
    await in_thread(scene)
    await until(lambda: not switch.clients and not switch.waits)
    gc.collect()
    gc.disable()
    try:
        await in_thread(scene)
        await until(lambda: not switch.clients and not switch.waits)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found = Counter(type(thing) for thing in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not [kind for kind in found if kind.__module__.startswith("haloy")]


@pytest.mark.parametrize("scene", [answered, taken_back, left, lost, posted])
async def test_nothing_is_left_for_the_collector(
    start_http2: Starter, scene: Callable[[int, Mortal], None]
) -> None:
    """Answered, taken back, left by the client and lost with the app; with bodies."""
    running = start_http2()
    app = Mortal()
    with backend(app) as one:
        await running.serve(one, options=ProxyOptions(protocol=Protocol.H2C))
        await nothing_is_left(running, lambda: scene(running.https, app))


def unary(port: int) -> None:
    """Call whatever the app has, often enough to be known; all of it, or in parts."""
    client = Caller(port)
    for path in [one for one in ANSWERS for _ in range(3)]:
        client.called(path)
        client.get(path, method="POST", fields=CALL, body=MESSAGE)
    client.close()


def streaming(port: int) -> None:
    """Send messages one by one, and then the end."""
    client = H2Client(port)
    for path in ("/whole", "/parts", "/large", "/reset", "/refused", "/cut"):
        stream = client.ask(path, "POST", CALL, None)
        for _ in range(5):
            client.upload(stream, MESSAGE, end=False)
            client.ping()
        client.upload(stream, MESSAGE)
        client.answer(stream)
    client.close()


def cancelled(port: int) -> None:
    """Take calls back: as soon as they are made, half said, and half answered."""
    client = Caller(port, window=1000)
    client.takes = False
    for _ in range(3):
        client.cancel(client.call("/whole"))
    client.cancel(client.ask("/whole", "POST", CALL, None))
    stream = client.ask("/whole", "POST", CALL, None)
    client.upload(stream, MESSAGE, end=False)
    client.ping()
    client.cancel(stream)
    stream = client.call("/large")
    client.until(lambda: len(client.answers[stream].body) == 1000)
    client.cancel(stream)
    client.ping()
    # And one that goes with the connection.
    client.call("/large")
    client.ask("/whole", "POST", CALL, None)
    client.ping()
    client.close()


@pytest.mark.parametrize("scene", [unary, streaming, cancelled])
async def test_calls_leave_nothing_for_the_collector(
    start_http2: Starter, scene: Callable[[int], None]
) -> None:
    """Unary and streaming calls of gRPC, however they end."""
    running = start_http2()
    with backend(lambda peer: scripted(peer, [])) as one:
        await running.serve(one, options=ProxyOptions(protocol=Protocol.H2C))
        await nothing_is_left(running, lambda: scene(running.https))
