"""Memory of the process: a limit on what waits, however many do not take it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from attrs import define

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import BODY, CALL, END, ENDED_REQUEST, RESET, ROOM
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.hpack import encode
from haloy.proxy.http2.sender import PROCESS_LIMIT_BYTES
from haloy.proxy.http2.shedding import ROOM_BYTES, Held, chosen
from haloy.proxy.http2.stream_state import Stream
from haloy.proxy.switch import Switch
from tests.proxy.apps import SHORT_OK
from tests.proxy.conftest import SplitStarter, Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.http2.support import POST, frame, head, number
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Peer, answering, backend, in_thread, table_of
from tests.proxy.test_split_load import pss_kib

H2C = ProxyOptions(protocol=Protocol.H2C)
LARGE_BYTES = 1048576
SIXTEEN = b"HTTP/1.1 200 OK\r\nContent-Length: 16384\r\n\r\n" + bytes(16384)


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
    """An app that speaks HTTP/2 and gives much, as fast as it may, but at C{small}."""

    def __init__(self, *small: bytes) -> None:
        self.resets = 0
        self._small = {(b":path", path) for path in small or (b"/small",)}

    def __call__(self, peer: Peer) -> None:
        peer.socket.settimeout(120)
        engine = Engine(client=False, now_s=0.0)
        left: dict[Stream, int] = {}
        asked: dict[Stream, HeaderList] = {}
        peer.send(engine.take())
        while data := peer.recv():
            for kind, stream, what in engine.receive(data, 0.0):
                if kind <= CALL:
                    asked[stream] = what
                if kind in (ENDED_REQUEST, CALL, END) and stream.sending:
                    engine.headers(stream, encode([(b":status", b"200")]), end=False)
                    large = self._small.isdisjoint(asked.pop(stream).pseudo)
                    left[stream] = LARGE_BYTES if large else 2
                    give(engine, stream, left)
                if kind in (BODY, CALL):
                    engine.credit(stream, len(engine.take_body(stream)))
                elif kind == RESET:
                    self.resets += 1
                    asked.pop(stream, None)
                    left.pop(stream, None)
                elif kind == ROOM:
                    for one in tuple(left) if not stream.id else (stream,):
                        give(engine, one, left)
            peer.send(engine.take())


def give(engine: Engine, stream: Stream, left: dict[Stream, int]) -> None:
    size = min(engine.room(stream), left.get(stream, 0))
    if size > 0 and stream.sending:
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
        await until(lambda: switch.waits - before >= 50 * 65536)
        found = await in_thread(lambda: H2Client(running.https, window=1 << 24).get())
        assert (found.status, len(found.body)) == (200, LARGE_BYTES)
        assert switch.waits - before == 50 * 65536
        (pool,) = switch.pools.values()
        assert len(pool.trunks) == 1
        client.peer.close()
        await until(lambda: switch.waits == before)


@define(eq=False)
class Most:
    """How much waits at most at the end of a turn, before anything is done about it."""

    switch: Switch
    bytes: int = 0
    over: bool = False

    def flush(self) -> None:
        self.bytes = max(self.bytes, self.switch.waits)
        if not self.over:
            self.switch.turn.mark_first(self)

    def drop(self) -> None:
        raise AssertionError


@contextmanager
def most(switch: Switch) -> Iterator[Most]:
    """Watch every turn."""
    watching = Most(switch)
    watching.flush()
    try:
        yield watching
    finally:
        watching.over = True


async def test_above_the_limit_the_longest_stalled_are_cut(
    start_http2: Starter,
) -> None:
    """The total stays below it, and a client that takes its answers has them all."""
    running = start_http2()
    app = App()
    with backend(app) as one, most(running.proxy._switch) as watching:
        await running.serve(one, options=H2C)
        switch = running.proxy._switch
        # As if others held the rest, all but three mebibytes.
        others = PROCESS_LIMIT_BYTES - 100 * 65536 - 3 * 1048576
        switch.waits += others
        first = await in_thread(stalled, running.https, 100)
        await until(lambda: switch.waits - others == 100 * 65536)
        (connection,) = [o for o in switch.clients if isinstance(o, Http2Downstream)]
        second = await in_thread(stalled, running.https, 100)
        await until(lambda: not connection.engine.streams)
        reader = await in_thread(lambda: H2Client(running.https, window=1 << 24))
        for _ in range(3):
            found = await in_thread(reader.get)
            assert (found.status, len(found.body)) == (200, LARGE_BYTES)
        assert first.until(frames.RST_STREAM).body == number(frames.CANCEL)
        assert watching.bytes <= PROCESS_LIMIT_BYTES
        for client in (first, second):
            client.peer.close()
        await until(lambda: switch.waits == others)
    outcomes = [record.outcome for record in running.records]
    assert outcomes.count("done") == 3


class Gate(threading.Event):
    """Apps that say much, all at the same time, on a connection for each request."""

    def http1(self, peer: Peer) -> None:
        peer.head()
        self.wait(60)
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
        peer.send(bytes(LARGE_BYTES))

    def h2c(self, peer: Peer) -> None:
        one = frames.SETTING.pack(frames.MAX_CONCURRENT_STREAMS, 1)
        peer.send(frame(frames.SETTINGS, 0, 0, one))
        assert peer.exactly(24) == frames.PREFACE
        kind = stream = 0
        while kind != frames.HEADERS:
            length, _, stream = frames.HEADER.unpack(peer.exactly(9))
            kind = length & 0xFF
            peer.exactly(length >> 8)
        self.wait(60)
        peer.send(frame(frames.HEADERS, 4, stream, encode([(b":status", b"200")])))
        peer.send(frame(frames.DATA, 0, stream, bytes(frames.FRAME_BYTES)) * 3)
        while peer.recv():
            pass


@pytest.mark.parametrize("options", [ProxyOptions(), H2C])
async def test_the_limit_holds_inside_of_a_turn_as_well(
    start_http2: Starter, options: ProxyOptions
) -> None:
    """However many apps have said much by the time that we look at them.

    Each is read once in the turn, and all of them together would pass it by far.
    """
    running = start_http2()
    switch = running.proxy._switch
    gate = Gate()
    with backend(gate.h2c if options is H2C else gate.http1) as one:
        await running.serve(one, options=options)
        (pool,) = switch.pools.values()
        clients = []
        for calls in range(1, 61):
            clients.append(await in_thread(stalled, running.https, 1))
            await until(lambda: pool.outstanding == calls)  # noqa: B023 - now
        await until(lambda: one.connections == len(clients))
        others = ROOM_BYTES - switch.waits
        switch.waits += others
        with most(switch) as watching:
            gate.set()
            # We look at nothing, until all of them have said it.
            threading.Event().wait(0.3)
            await until(lambda: watching.bytes > ROOM_BYTES)
            await until(lambda: switch.waits > ROOM_BYTES or not pool.outstanding)
        assert watching.bytes <= PROCESS_LIMIT_BYTES
        for client in clients:
            client.peer.close()
        await until(lambda: switch.waits == others)


async def test_the_limit_holds_when_many_send_bodies(start_http2: Starter) -> None:
    """What no app takes of uploads counts as it comes."""
    running = start_http2()
    switch = running.proxy._switch
    gate = Gate()
    with backend(gate.http1) as one:
        await running.serve(one, options=ProxyOptions(max_connections=1))
        (pool,) = switch.pools.values()
        clients = [await in_thread(stalled, running.https, 1)]
        await until(lambda: pool.full)
        upload = frame(frames.DATA, 0, 1, bytes(frames.FRAME_BYTES)) * 3
        for _ in range(40):
            client = await in_thread(lambda: RawClient(running.https))
            await in_thread(client.send, head(1, POST, end=False))
            clients.append(client)
        await until(lambda: len(pool.waiting) == 40)
        others = ROOM_BYTES - switch.waits
        switch.waits += others
        with most(switch) as watching:
            # We look at nothing, until all of it is there.
            for client in clients[1:]:
                client.send(upload)
            await until(lambda: watching.bytes > ROOM_BYTES)
        assert watching.bytes <= PROCESS_LIMIT_BYTES
        gate.set()
        for client in clients:
            client.peer.close()
        await until(lambda: switch.waits == others)


def eager(port: int) -> H2Client:
    """Return one that lets everything come, and whose requests go the short way."""
    client = H2Client(port, window=1 << 20)
    client.h2.increment_flow_control_window(1 << 24)
    for _ in range(3):
        assert client.get().status == 200
    client.peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return client


async def test_the_limit_holds_when_many_are_written_to(start_http2: Starter) -> None:
    """What is answered at once counts when the kernel does not take it."""
    running = start_http2()
    switch = running.proxy._switch
    gate = threading.Event()

    def app(peer: Peer) -> None:
        while asked := peer.head():
            if b"/wait" in asked:
                gate.wait(60)
            peer.send(SIXTEEN)

    with backend(app) as one:
        await running.serve(one)
        clients = [await in_thread(eager, running.https) for _ in range(24)]
        for client in clients:
            for _ in range(8):
                await in_thread(client.ask, "/wait")
        (pool,) = switch.pools.values()
        await until(lambda: pool.outstanding == 8 * len(clients))
        for connection in switch.clients:
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        others = ROOM_BYTES - switch.waits
        switch.waits += others
        with most(switch) as watching:
            gate.set()
            threading.Event().wait(0.3)
            await until(lambda: not pool.outstanding)
            await until(lambda: watching.bytes > ROOM_BYTES)
        assert ROOM_BYTES < watching.bytes <= PROCESS_LIMIT_BYTES
        for client in clients:
            client.peer.close()
        await until(lambda: switch.waits == others)


async def test_what_the_kernel_does_not_take_counts(start_http2: Starter) -> None:
    """Of answers that are over, for a client that does not read: it is cut, too."""
    running = start_http2()
    switch = running.proxy._switch
    with backend(answering(SIXTEEN)) as one:
        await running.serve(one)
        client = await in_thread(lambda: RawClient(running.https))
        more = number(frames.WINDOW_LIMIT - frames.DEFAULT_WINDOW)
        await in_thread(client.send, frame(frames.WINDOW_UPDATE, 0, 0, more))
        await until(lambda: any(isinstance(o, Http2Downstream) for o in switch.clients))
        (connection,) = [o for o in switch.clients if isinstance(o, Http2Downstream)]
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        asked = 0
        while len(connection.unsent or b"") < 65536:
            await in_thread(client.send, client.get(2 * asked + 1))
            asked += 1
            await until(lambda: len(running.records) == asked)  # noqa: B023 - now
        assert not connection.engine.streams
        assert switch.waits == len(connection.unsent or b"")
        # The kernel may take a little more.
        others = ROOM_BYTES - switch.waits + 49152
        switch.waits += others
        found = await in_thread(lambda: H2Client(running.https).get())
        assert (found.status, len(found.body)) == (200, 16384)
        assert connection.gone
        await until(lambda: switch.waits == others)


async def test_bodies_that_no_app_takes_count(start_http2: Starter) -> None:
    """Of uploads that wait for a connection to the app: they are cut, too."""
    running = start_http2()
    switch = running.proxy._switch
    gate = threading.Event()
    body = bytes(frames.FRAME_BYTES)

    def app(peer: Peer) -> None:
        peer.head()
        gate.wait(60)
        peer.send(SHORT_OK)

    with backend(app) as one:
        await running.serve(one, options=ProxyOptions(max_connections=1))
        first = await in_thread(lambda: H2Client(running.https))
        asked = await in_thread(first.ask)
        (pool,) = switch.pools.values()
        await until(lambda: pool.full)
        client = await in_thread(lambda: RawClient(running.https))
        upload = [frame(frames.DATA, 0, 1, body)] * 3
        await in_thread(client.send, head(1, POST, end=False), *upload)
        await until(lambda: switch.waits == 3 * len(body))
        others = ROOM_BYTES - switch.waits + 1
        switch.waits += others
        # Whatever comes next.
        await in_thread(first.ping)
        assert client.until(frames.RST_STREAM).body == number(frames.CANCEL)
        assert switch.waits == others
        gate.set()
        assert (await in_thread(first.answer, asked)).status == 200


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
