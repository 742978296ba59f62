"""Raw-socket cases: clients and backends that do not behave.

After each case a good request on a new connection must still be answered, and the
backend must never have seen a request that nobody sent.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from haloy.model.app import ProxyOptions
from haloy.proxy.interface import UpstreamFailure
from tests.proxy.conftest import Running, Starter
from tests.proxy.support import (
    Backend,
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
    parse_head,
)
from tests.proxy.test_head import BAD_REQUESTS

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
POST = b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"


class Recorder:
    """A lenient backend that remembers every request line it was given."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        while head := peer.head():
            self.heads.append(head)
            fields = parse_head(b"x 1\r\n" + head)[1]
            if fields.get("transfer-encoding") == "chunked":
                peer.chunked()
            elif "content-length" in fields:
                peer.exactly(int(fields["content-length"]))
            peer.send(OK)


async def good(running: Running) -> int:
    def client() -> int:
        peer = connect(running.http)
        peer.send(get(target="/good"))
        return peer.response()[0]

    return await in_thread(client)


# Clients.

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
        assert await good(running) == 200
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
        assert await good(running) == 200
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
            assert ended.wait(5)

        await in_thread(client)
    assert not bodies or not bodies[0].endswith(b"0\r\n\r\n")
    assert running.records[0].outcome == "gone"


async def test_a_client_that_resets_while_it_waits(start_proxy: Starter) -> None:
    """Its request ends, and so does its upstream connection."""
    running = start_proxy()
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
            peer = connect(running.http)
            peer.send(get())
            assert asked.wait(5)
            peer.reset()
            assert ended.wait(5)

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


# Backends.


def saying(*parts: bytes, reset: bool = False) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.head()
        for part in parts:
            peer.send(part)
            time.sleep(0.02)  # noqa: TID251 - a thread of its own, not the reactor
        if reset:
            peer.reset()

    return script


BAD_ANSWERS = {
    "nothing": saying(),
    "garbage": saying(b"garbage\r\n\r\n"),
    "HTTP/2 frames": saying(b"\0\0\x12\x04\0\0\0\0\0"),
    "bad length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    "two lengths": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    ),
    "length and chunked": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "folded": saying(b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    "bare LF": saying(b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    "half a head": saying(b"HTTP/1.1 200 OK\r\nX: y\r\n"),
    "reset at once": saying(b"", reset=True),
    "reset in the head": saying(b"HTTP/1.1 200", reset=True),
    "101": saying(
        b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
    ),
    "endless head": saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100000),
    "splitting": saying(b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n"),
    "interim for ever": saying(b"HTTP/1.1 102 Wait\r\n\r\n" * 100),
}


@pytest.mark.parametrize("script", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_bad_answers(
    start_proxy: Starter, script: Callable[[Peer], None]
) -> None:
    """The client gets 502 and may go on; the connection is not used again."""
    running = start_proxy()
    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[int, int, int]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 0\r\n\r\n")
            first = peer.response()[0]
            peer.send(POST + b"Content-Length: 0\r\n\r\n")
            return first, peer.response()[0], one.connections

        assert await in_thread(client) == (502, 502, 2)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CUT = {
    "length": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"),
    "length, reset": saying(
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", reset=True
    ),
    "chunked": saying(CHUNKED + b"9\r\nabc"),
    "between chunks": saying(CHUNKED + b"3\r\nabc\r\n"),
    "in the trailers": saying(CHUNKED + b"3\r\nabc\r\n0\r\n"),
    "bad chunk": saying(CHUNKED + b"3\r\nabc\r\nzz\r\n"),
    "until close, reset": saying(b"HTTP/1.1 200 OK\r\n\r\n", b"abc", reset=True),
}


@pytest.mark.parametrize("script", CUT.values(), ids=CUT.keys())
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_answers_that_break_off(
    start_proxy: Starter, script: Callable[[Peer], None], tls: bool
) -> None:
    """The client sees that it is not complete: no last chunk, bytes missing."""
    running = start_proxy(plain=not tls)
    with backend(script) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https) if tls else connect(running.http)
            peer.send(get())
            try:
                return peer.rest()
            except OSError:
                return b""

        answer = await in_thread(client)
        head, _, body = answer.partition(b"\r\n\r\n")
        if b"chunked" in head:
            assert not body.endswith(b"0\r\n\r\n")
        else:
            assert len(body) < 9
    assert running.records[0].outcome == "cut"


async def test_a_cut_for_an_old_client_is_a_reset(start_proxy: Starter) -> None:
    """Where the end of the connection ends the body, a cut is a reset."""
    running = start_proxy()
    with backend(CUT["between chunks"]) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(b"GET / HTTP/1.0\r\nHost: app.example.com\r\n\r\n")
            return peer.rest()

        with pytest.raises(ConnectionResetError):
            await in_thread(client)


async def test_bytes_beyond_an_answer(start_proxy: Starter) -> None:
    """They do not become the answer to the next request."""
    running = start_proxy()
    with backend(
        answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    ) as one:
        await running.serve(one)

        def client() -> list[bytes]:
            peer = connect(running.http)
            bodies = []
            for _ in range(3):
                peer.send(get())
                bodies.append(peer.response()[2])
            return bodies

        assert await in_thread(client) == [b"hello"] * 3
    assert one.connections == 3


async def test_speech_on_an_idle_connection(start_proxy: Starter) -> None:
    """What a backend says while nobody asked is thrown away with its connection."""
    running = start_proxy()
    spoken = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)
        time.sleep(0.05)  # noqa: TID251 - a thread of its own, not the reactor
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        peer.is_closed()
        spoken.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[bytes, bytes]:
            peer = connect(running.http)
            peer.send(get())
            first = peer.response()[2]
            assert spoken.wait(5)
            peer.send(get())
            return first, peer.response()[2]

        assert await in_thread(client) == (b"hello", b"hello")
    assert one.connections == 2


async def test_a_backend_that_closes_idle_connections(start_proxy: Starter) -> None:
    """A connection that died while idle costs nobody a request, a POST either."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(OK)

    with backend(script) as one:
        await running.serve(one)

        def client() -> list[int]:
            peer = connect(running.http)
            answers = []
            for _ in range(5):
                peer.send(POST + b"Content-Length: 0\r\n\r\n")
                answers.append(peer.response()[0])
                time.sleep(0.02)  # noqa: TID251 - a thread of its own
            return answers

        assert await in_thread(client) == [200] * 5
    assert one.connections == 5


class Stale:
    """Answers once on each connection and dies at the second request."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []

    def __call__(self, peer: Peer) -> None:
        self.requests.append(peer.head())
        peer.send(OK)
        second = peer.head()
        if second:
            self.requests.append(second)


async def test_a_stale_connection_is_tried_again(start_proxy: Starter) -> None:
    """An idempotent request on a dead pooled connection goes out once more."""
    running = start_proxy()
    stale = Stale()
    with backend(stale) as one:
        await running.serve(one)

        def client() -> tuple[int, int]:
            peer = connect(running.http)
            peer.send(get(target="/1"))
            first = peer.response()[0]
            peer.send(get(target="/2"))
            return first, peer.response()[0]

        assert await in_thread(client) == (200, 200)
    assert len(stale.requests) == 3


async def test_a_post_is_never_sent_twice(start_proxy: Starter) -> None:
    """The same for a POST is a 502: it may have been carried out."""
    running = start_proxy()
    stale = Stale()
    with backend(stale) as one:
        await running.serve(one)

        def client() -> tuple[int, int]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 0\r\nX: 1\r\n\r\n")
            first = peer.response()[0]
            peer.send(POST + b"Content-Length: 0\r\nX: 2\r\n\r\n")
            return first, peer.response()[0]

        assert await in_thread(client) == (200, 502)
    assert sum(b"X: 2" in head for head in stale.requests) == 1


async def test_a_post_avoids_connections_that_have_been_idle(
    start_proxy: Starter,
) -> None:
    """After a second of idleness it goes out on a new connection."""
    now = [1000.0]
    running = start_proxy(clock=lambda: now[0])
    with backend(Recorder()) as one:
        await running.serve(one)

        def client() -> list[int]:
            peer = connect(running.http)
            counts = []
            for wait_s in (0.0, 0.0, 2.0):
                now[0] += wait_s
                peer.send(POST + b"Content-Length: 0\r\n\r\n")
                peer.response()
                counts.append(one.connections)
            peer.send(get())
            peer.response()
            return [*counts, one.connections]

        assert await in_thread(client) == [1, 1, 2, 2]


async def test_an_early_answer_to_an_upload(start_proxy: Starter) -> None:
    """It is delivered though the client is still sending; then the connection ends."""
    running = start_proxy()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")

    with backend(script) as one:
        await running.serve(one)

        def client() -> tuple[int, dict[str, str], bytes]:
            peer = connect(running.http)
            peer.send(POST + b"Content-Length: 50000000\r\n\r\n")

            def upload() -> None:
                try:
                    for _ in range(200):
                        peer.socket.sendall(b"x" * 65536)
                except OSError:
                    return

            sender = threading.Thread(target=upload)
            sender.start()
            answer = peer.response()
            peer.close()
            sender.join(10)
            return answer

        status, fields, body = await in_thread(client)
    assert (status, fields["connection"], body) == (413, "close", b"no")


# Dials.


def refusing() -> Backend:
    """Return a backend that is gone: its port refuses connections."""
    one = Backend(answering(OK))
    one.close()
    return one


async def test_the_next_replica_serves(start_proxy: Starter) -> None:
    """A refused dial costs no request, a POST either, and is reported."""
    running = start_proxy()
    failures: list[UpstreamFailure] = []
    running.proxy.on_upstream_failure(failures.append)
    dead = refusing()
    with backend(Recorder()) as one:
        await running.serve(dead, one)

        def client() -> list[int]:
            peer = connect(running.http)
            answers = []
            for _ in range(10):
                peer.send(POST + b"Content-Length: 3\r\n\r\nabc")
                answers.append(peer.response()[0])
            return answers

        assert await in_thread(client) == [200] * 10
    # Ejected after the first refusal: it is not asked again for a second.
    assert len(failures) == 1
    assert failures[0].key == f"replica-{id(dead)}"
    assert failures[0].reason


async def test_nobody_answers(start_proxy: Starter) -> None:
    """All replicas refuse: 502. No replica at all: 503 with a time."""
    running = start_proxy()
    await running.serve(refusing(), refusing())

    def client() -> tuple[int, dict[str, str], bytes]:
        peer = connect(running.http)
        peer.send(get())
        return peer.response()

    assert (await in_thread(client))[0] == 502
    await running.serve()
    status, fields, _ = await in_thread(client)
    assert (status, fields["retry-after"]) == (503, "5")


async def test_more_requests_than_connections(start_proxy: Starter) -> None:
    """Requests beyond the cap wait for their turn and are all answered."""
    running = start_proxy()
    busy: list[int] = []
    peak = [0]
    lock = threading.Lock()

    def script(peer: Peer) -> None:
        while peer.head():
            with lock:
                busy.append(1)
                peak[0] = max(peak[0], len(busy))
            time.sleep(0.01)  # noqa: TID251 - a thread of its own
            with lock:
                busy.pop()
            peer.send(OK)

    with backend(script) as one:
        await running.serve(one, options=ProxyOptions(max_connections=3))

        def client() -> list[int]:
            peers = [connect(running.http) for _ in range(20)]
            for peer in peers:
                peer.send(get())
            return [peer.response()[0] for peer in peers]

        assert await in_thread(client) == [200] * 20
        assert peak[0] <= 3
        assert one.connections <= 3


async def test_waiting_requests_follow_the_table(start_proxy: Starter) -> None:
    """A request that waits for a replica that goes is served by the new one."""
    running = start_proxy()
    stuck = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        stuck.wait(5)
        peer.send(OK)

    with backend(script) as old, backend(Recorder()) as new:
        await running.serve(old, options=ProxyOptions(max_connections=1))

        def start() -> list[Peer]:
            peers = [connect(running.http) for _ in range(4)]
            for peer in peers:
                peer.send(get())
                time.sleep(0.02)  # noqa: TID251 - a thread of its own
            return peers

        peers = await in_thread(start)
        await running.serve(new, generation=2)

        def rest() -> list[int]:
            answers = [peer.response()[0] for peer in peers[1:]]
            stuck.set()
            return [*answers, peers[0].response()[0]]

        assert await in_thread(rest) == [200] * 4
