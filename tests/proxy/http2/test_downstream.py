"""HTTP/2 connections as such: greeting, deadlines, ends."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from haloy.proxy.http2 import downstream, frames
from haloy.proxy.http2.multiplexed import DEAF_BYTES
from haloy.proxy.http2.outgoing import Outgoing
from tests.proxy.apps import SHORT_OK
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import H2Client, RawClient, tls_peer, until
from tests.proxy.http2.support import GET, block, frame, head, number
from tests.proxy.support import (
    WAIT_S,
    Peer,
    answering,
    backend,
    get,
    in_thread,
)


def clients(running: Running) -> int:
    return len(running.proxy._switch.clients)


async def test_the_handshake_chooses(start_http2: Starter) -> None:
    """HTTP/1.1 and WebSockets on the same port, for whoever asks for them."""
    running = start_http2()

    def script(peer: Peer) -> None:
        while asked := peer.head():
            if b"websocket" in asked:
                peer.send(
                    b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n"
                    b"Upgrade: websocket\r\n\r\n"
                )
                peer.send(peer.exactly(4))
                return
            peer.send(SHORT_OK)

    def talk() -> None:
        with_h2 = H2Client(running.https)
        assert with_h2.get().body == b"ok"
        old = tls_peer(running.https, protocols=("http/1.1",))
        old.send(get())
        assert old.response()[2] == b"ok"
        socket = tls_peer(running.https, protocols=("http/1.1",))
        socket.send(get(Connection="Upgrade", Upgrade="websocket"))
        assert b" 101 " in socket.head()
        socket.send(b"ping")
        assert socket.exactly(4) == b"ping"
        assert with_h2.get().body == b"ok"

    with backend(script) as app:
        await running.serve(app)
        await in_thread(talk)


async def test_extended_connect_is_not_offered(start_http2: Starter) -> None:
    """Browsers open an HTTP/1.1 connection for WebSockets then."""
    running = start_http2()

    def talk() -> bytes:
        return RawClient(running.https).until(frames.SETTINGS).body

    names = [body[1] for body in _pairs(await in_thread(talk))]
    assert names == [3, 4, 6]


def _pairs(body: bytes) -> list[bytes]:
    return [body[i : i + 6] for i in range(0, len(body), 6)]


@pytest.mark.parametrize("sent", [b"", frames.PREFACE[:10], frames.PREFACE])
async def test_who_does_not_greet_is_closed(start_http2: Starter, sent: bytes) -> None:
    """After ten seconds, with SETTINGS_TIMEOUT."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])

    def talk() -> int | None:
        client = RawClient(running.https, greet=False)
        client.send(sent)
        client.until(frames.SETTINGS)
        now[0] += 16.0
        return client.end()

    assert await in_thread(talk) == frames.SETTINGS_TIMEOUT
    await until(lambda: clients(running) == 0)


async def test_settings_that_are_not_acknowledged(start_http2: Starter) -> None:
    """SETTINGS_TIMEOUT, too."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])

    def talk() -> int | None:
        client = RawClient(running.https, greet=False)
        client.send(frames.PREFACE, frame(frames.SETTINGS))
        client.until(frames.SETTINGS)
        now[0] += 16.0
        return client.end()

    assert await in_thread(talk) == frames.SETTINGS_TIMEOUT


async def test_a_header_block_that_does_not_end(start_http2: Starter) -> None:
    """Ten seconds, whatever else is under way."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])
    client_of: list[RawClient] = []

    def begin() -> None:
        client = RawClient(running.https)
        client.until(frames.SETTINGS)
        client.send(frame(frames.HEADERS, 1, 1, block(GET)[:20]))
        client_of.append(client)

    await in_thread(begin)
    (connection,) = running.proxy._switch.clients
    assert isinstance(connection, downstream.Http2Downstream)
    await until(lambda: connection.engine.inside_block)
    await until(lambda: connection.engine.agreed)
    now[0] += 6.0
    await until(lambda: connection._block_since_s > 0)
    now[0] += 16.0
    assert await in_thread(client_of[0].end) == frames.ENHANCE_YOUR_CALM


async def test_an_idle_connection_is_told_goodbye(start_http2: Starter) -> None:
    """After three minutes without a request; pings keep nothing alive."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])

    def talk() -> None:
        client = RawClient(running.https)
        client.send(client.get(1))
        assert client.status(1) == "200"
        for _ in range(8):
            now[0] += 20.0
            client.send(frame(frames.PING, 0, 0, b"12345678"))
            client.until(frames.PING)
        assert client.goaway is None
        now[0] += 60.0
        assert client.end() == frames.NO_ERROR

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        await in_thread(talk)
    await until(lambda: clients(running) == 0)


async def test_a_stream_that_nobody_reads_is_reset(start_http2: Starter) -> None:
    """After a minute; the connection goes on."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000

    def script(peer: Peer) -> None:
        while asked := peer.head():
            peer.send(large if b"/large" in asked else SHORT_OK)

    client_of: list[H2Client] = []

    def begin() -> None:
        client = H2Client(running.https, window=1000)
        client.takes = False
        stream = client.ask("/large")
        client.until(lambda: len(client.answers[stream].body) == 1000)
        client_of.append(client)

    def finish() -> None:
        client = client_of[0]
        assert client.get("/small").body == b"ok"
        now[0] += 70.0
        found = client.answers[1]
        client.until(lambda: found.reset is not None)
        assert client.get("/small").body == b"ok"

    with backend(script) as app:
        await running.serve(app)
        await in_thread(begin)
        await until(lambda: running.proxy._switch.waits > 0)
        await in_thread(finish)
    assert running.proxy._switch.waits == 0


async def test_a_stop_lets_requests_end(start_http2: Starter) -> None:
    """GOAWAY first; what is under way is answered; then the connection ends."""
    running = start_http2(stop_s=WAIT_S)
    there, go_on = threading.Event(), threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        there.set()
        assert go_on.wait(WAIT_S)
        peer.send(SHORT_OK)

    def talk() -> None:
        client = RawClient(running.https)
        client.send(client.get(1))
        client.until(frames.GOAWAY)
        client.send(frame(frames.PING, 1, 0, client.until(frames.PING).body))
        client.until(frames.GOAWAY)
        go_on.set()
        assert client.status(1) == "200"
        assert client.until(frames.DATA).body == b"ok"
        assert client.end() == frames.NO_ERROR

    with backend(script) as app:
        await running.serve(app)
        talking = in_thread(talk)
        assert await in_thread(there.wait, WAIT_S)
        await running.proxy.stopService()
        await talking
    assert [record.outcome for record in running.records] == ["done"]


async def test_a_client_that_leaves_first(start_http2: Starter) -> None:
    """Its GOAWAY: the connection ends with its last stream."""
    running = start_http2()

    def talk() -> None:
        client = RawClient(running.https)
        client.send(client.get(1), frame(frames.GOAWAY, 0, 0, bytes(8)))
        assert client.status(1) == "200"
        client.end()

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        await in_thread(talk)
        await until(lambda: clients(running) == 0)


async def test_a_connection_has_a_number_of_requests(
    start_http2: Starter,
) -> None:
    """Then GOAWAY; all of them are answered."""
    running = start_http2()
    running.proxy._switch.http2_requests_limit = 3

    def talk() -> None:
        client = RawClient(running.https)
        client.send(*(client.get(n) for n in (1, 3, 5, 7)))
        assert client.statuses(1, 3, 5) == ["200"] * 3
        assert client.end() == frames.NO_ERROR

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        await in_thread(talk)


async def test_a_failure_of_one_connection_is_its_own(
    start_http2: Starter,
    logged_failures: list[object],
) -> None:
    """An error that nobody foresaw drops it, and nothing else."""
    running = start_http2()

    def talk() -> None:
        client = H2Client(running.https)
        assert client.get().body == b"ok"

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        await in_thread(talk)
        (connection,) = running.proxy._switch.clients
        assert isinstance(connection, downstream.Http2Downstream)
        connection._output[cast(Outgoing, None)] = None
        connection.mark()
        await until(lambda: connection.gone)
        assert logged_failures
        logged_failures.clear()
        await in_thread(talk)


async def test_requests_over_the_wire_in_any_pieces(start_http2: Starter) -> None:
    """One octet a record of TLS."""
    running = start_http2()

    def talk() -> None:
        client = RawClient(running.https)
        for octet in client.get(1) + head(3, (*GET, ("x-a", "1"))):
            client.send(bytes([octet]))
        assert client.statuses(1, 3) == ["200"] * 2

    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        await in_thread(talk)


#: More than the kernel's buffers take: frames that mean nothing to a client.
_MUCH = frame(200, 0, 0, bytes(16000)) * 1100


async def _deaf(running: Running) -> tuple[RawClient, downstream.Http2Downstream]:
    """Return a client that reads nothing, while more waits for it than is kept."""
    client = await in_thread(lambda: RawClient(running.https))
    (connection,) = running.proxy._switch.clients
    assert isinstance(connection, downstream.Http2Downstream)
    await until(lambda: connection.engine.agreed)
    connection.engine.write(_MUCH)
    connection.mark()
    await until(lambda: len(connection.unsent or b"") > DEAF_BYTES)
    return client, connection


async def test_who_does_not_read_is_not_heard(start_http2: Starter) -> None:
    """Until it has taken what there is: what it asks would only add to it."""
    running = start_http2()
    with backend(answering(SHORT_OK)) as app:
        await running.serve(app)
        client, connection = await _deaf(running)
        await in_thread(lambda: client.send(client.get(1)))
        other = await in_thread(lambda: H2Client(running.https))
        for _ in range(3):
            assert (await in_thread(other.get)).body == b"ok"
        assert connection.engine.requests == 0
        assert await in_thread(client.status, 1) == "200"


async def test_who_takes_nothing_for_a_minute_is_closed(start_http2: Starter) -> None:
    """Whatever it is that waits for the kernel."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])
    _, connection = await _deaf(running)
    for _ in range(9):
        now[0] += 6.0
        at = connection.due_s
        await until(lambda at=at: connection.due_s > at)  # type: ignore[misc]  # a test
    assert clients(running) == 1
    now[0] += 12.0
    await until(lambda: clients(running) == 0)


async def test_streams_take_turns(start_http2: Starter) -> None:
    """Of each goes out 32 KiB before it is the next one's turn."""
    running = start_http2()
    size = 100_000
    large = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size

    def begin() -> RawClient:
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 0)
        client = RawClient(running.https, settings=settings)
        client.send(frame(frames.WINDOW_UPDATE, 0, 0, number(1 << 24)))
        client.send(client.get(1), client.get(3))
        return client

    def runs(client: RawClient) -> list[int]:
        setting = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 1 << 20)
        client.send(frame(frames.SETTINGS, 0, 0, setting))
        found: list[int] = []
        last, got = 0, 0
        while got < 2 * size:
            data = client.until(frames.DATA)
            got += len(data.body)
            if data.stream != last:
                found.append(0)
            last = data.stream
            found[-1] += len(data.body)
        return found

    with backend(answering(large)) as app:
        await running.serve(app)
        client = await in_thread(begin)
        await until(lambda: running.proxy._switch.waits == 2 * size)
        assert await in_thread(runs, client) == [32768] * 6 + [size % 32768] * 2
