"""Memory of the process: a limit on what waits, however many do not take it."""

from __future__ import annotations

import threading

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import ENDED_REQUEST, RESET, ROOM
from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.hpack import encode
from haloy.proxy.http2.sender import PROCESS_LIMIT_BYTES, Stream
from haloy.proxy.http2.shedding import Held, chosen
from tests.proxy.conftest import SplitStarter, Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.http2.support import number
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Peer, backend, in_thread, table_of
from tests.proxy.test_split_load import pss_kib

H2C = ProxyOptions(protocol=Protocol.H2C)
LARGE_BYTES = 1048576


def held(due_s: float, size_bytes: int) -> Held:
    return Held(due_s, size_bytes, lambda: None)


def test_who_has_stalled_longest_goes_first_and_no_more_than_needed() -> None:
    """Of those that stalled together, the large ones."""
    old, large, small, new = held(1, 10), held(2, 50), held(2, 20), held(3, 1000)
    some = [new, small, old, large]
    assert chosen(some, 0) == []
    assert chosen(some, 10) == [old]
    assert chosen(some, 11) == [old, large]
    assert chosen(some, 61) == [old, large, small]
    assert chosen(some, 5000) == [old, large, small, new]


class App:
    """An app that speaks HTTP/2 and gives much, as fast as it may."""

    def __init__(self) -> None:
        self.resets = 0

    def __call__(self, peer: Peer) -> None:
        peer.socket.settimeout(120)
        engine = Engine(client=False, now_s=0.0)
        left: dict[Stream, int] = {}
        peer.send(engine.take())
        while data := peer.recv():
            for kind, stream, what in engine.receive(data, 0.0):
                if kind == ENDED_REQUEST:
                    engine.headers(stream, encode([(b":status", b"200")]), end=False)
                    large = (b":path", b"/small") not in what.pseudo
                    left[stream] = LARGE_BYTES if large else 2
                    give(engine, stream, left)
                elif kind == RESET:
                    self.resets += 1
                    left.pop(stream, None)
                elif kind == ROOM:
                    for one in tuple(left) if not stream.id else (stream,):
                        give(engine, one, left)
            peer.send(engine.take())


def give(engine: Engine, stream: Stream, left: dict[Stream, int]) -> None:
    size = min(engine.room(stream), left.get(stream, 0))
    if size > 0:
        left[stream] -= size
        engine.data(stream, bytes(size), end=not left[stream])
        if not left[stream]:
            del left[stream]


def stalled(port: int, calls: int) -> RawClient:
    """Ask for much and take nothing of it."""
    settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 0)
    client = RawClient(port, settings=settings)
    client.send(*(client.get(n) for n in range(1, 2 * calls, 2)))
    return client


async def test_a_stalled_call_holds_one_window(start_http2: Starter) -> None:
    """The app gets no credit for what its client does not take, others do.

    They are on the same connection to the app.
    """
    running = start_http2()
    app = App()
    with backend(app) as one:
        await running.serve(one, options=H2C)
        switch = running.proxy._switch
        # Short of memory, so that less waits of each.
        switch.waits += 70 * 1048576
        before = switch.waits
        client = await in_thread(stalled, running.https, 50)
        await until(lambda: switch.waits - before >= 50 * 65535)
        found = await in_thread(lambda: H2Client(running.https, window=1 << 24).get())
        assert (found.status, len(found.body)) == (200, LARGE_BYTES)
        assert switch.waits - before == 50 * 65535
        (pool,) = switch.pools.values()
        assert len(pool.trunks) == 1
        client.peer.close()
        await until(lambda: switch.waits == before)


async def test_above_the_limit_the_longest_stalled_are_cut(
    start_http2: Starter,
) -> None:
    """The total stays below it, and a client that takes its answers has them all."""
    running = start_http2()
    app = App()
    worst = 0
    with backend(app) as one:
        await running.serve(one, options=H2C)
        switch = running.proxy._switch
        first = await in_thread(stalled, running.https, 100)
        await until(lambda: switch.waits >= 100 * 65535)
        (connection,) = [o for o in switch.clients if isinstance(o, Http2Downstream)]
        # As if others held all the rest.
        others = PROCESS_LIMIT_BYTES - switch.waits - 1048576
        switch.waits += others

        def look() -> bool:
            nonlocal worst
            worst = max(worst, switch.waits)
            return not connection.engine.streams

        second = await in_thread(stalled, running.https, 100)
        await until(look)
        reader = await in_thread(lambda: H2Client(running.https, window=1 << 24))
        for _ in range(3):
            found = await in_thread(reader.get)
            assert (found.status, len(found.body)) == (200, LARGE_BYTES)
        assert first.until(frames.RST_STREAM).body == number(frames.CANCEL)
        assert worst <= PROCESS_LIMIT_BYTES
        for client in (first, second):
            client.peer.close()
        await until(lambda: switch.waits == others)
    outcomes = [record.outcome for record in running.records]
    assert outcomes.count("done") == 3


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
async def test_thousands_of_stalled_calls(start_split: SplitStarter) -> None:
    """They hold what is promised, in a real process, and hold up nobody."""
    split = await start_split(workers=1, plain=False)
    await split.proxy.replace_certificates((certificate(),))
    (pid,) = split.supervisor.pids

    def clients() -> float:
        small = H2Client(split.https)
        assert small.get("/small").status == 200
        before = worst = pss_kib(pid)
        for _ in range(40):
            stalled(split.https, 100)
            assert small.get("/small").status == 200
            worst = max(worst, pss_kib(pid))
        for _ in range(10):
            threading.Event().wait(0.1)
            assert small.get("/small").status == 200
            worst = max(worst, pss_kib(pid))
        return worst - before

    with backend(App()) as one:
        await split.proxy.replace_table(table_of(one, options=H2C))
        grown_kib = await in_thread(clients)
    print(f"4000 stalled calls: {grown_kib / 1024:.0f} MiB")
    assert grown_kib < 1.5 * PROCESS_LIMIT_BYTES / 1024
