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
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.http2.support import frame, number
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


@pytest.mark.parametrize("scene", [answered, taken_back, left, lost])
async def test_nothing_is_left_for_the_collector(
    start_http2: Starter, scene: Callable[[int, Mortal], None]
) -> None:
    """Answered, taken back, left by the client and lost with the app."""
    running = start_http2()
    app = Mortal()
    with backend(app) as one:
        await running.serve(one, options=ProxyOptions(protocol=Protocol.H2C))
        switch = running.proxy._switch
        await in_thread(scene, running.https, app)
        await until(lambda: not switch.clients and not switch.waits)
        gc.collect()
        gc.disable()
        try:
            await in_thread(scene, running.https, app)
            await until(lambda: not switch.clients and not switch.waits)
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = Counter(type(thing) for thing in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not [kind for kind in found if kind.__module__.startswith("haloy")]
