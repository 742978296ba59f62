"""Time limits, on a clock that the tests move."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import pytest
from attrs import define

from haloy.model.app import Address, ProxyOptions
from haloy.proxy.routes import Upstream
from tests.proxy.apps import OK, POST
from tests.proxy.conftest import Running, Starter
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    get,
    in_thread,
)
from tests.support.waiting import wait_until


@define(eq=False)
class Clock:
    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class Silent:
    """A backend that takes what comes and says nothing."""

    def __init__(self, first: bytes = b"") -> None:
        self.first = first
        self.asked = threading.Event()
        self.ended = threading.Event()

    def __call__(self, peer: Peer) -> None:
        peer.head()
        if self.first:
            peer.send(self.first)
        self.asked.set()
        try:
            while peer.recv():
                pass
        finally:
            self.ended.set()


def after(
    running: Running,
    clock: Clock,
    request: bytes,
    *steps: tuple[float, bytes],
    before: Callable[[], object] = lambda: None,
) -> bytes:
    """Send, let time pass and send more, then return all that came; blocks."""
    peer = connect(running.http)
    peer.send(request)
    before()
    for seconds, more in steps:
        threading.Event().wait(0.02)
        clock.advance(seconds)
        if more:
            peer.send(more)
    return peer.rest()


async def test_a_slow_head(start_proxy: Starter) -> None:
    """A head has ten seconds in all, not ten for each byte: 408."""
    clock = Clock()
    running = start_proxy(clock=clock)
    answer = await in_thread(
        after, running, clock, b"GET / HT", (4, b"TP/1.1\r\n"), (4, b"X:"), (3, b"")
    )
    assert answer.startswith(b"HTTP/1.1 408 ")


async def test_a_silent_client(start_proxy: Starter) -> None:
    """A connection without a byte is closed without a word, in TLS too."""
    clock = Clock()
    running = start_proxy(clock=clock)
    assert await in_thread(after, running, clock, b"", (11, b"")) == b""
    secure = start_proxy(plain=False, clock=clock)

    def client() -> bool:
        peer = connect(secure.https)
        threading.Event().wait(0.02)
        clock.advance(11)
        return peer.is_closed()

    assert await in_thread(client)


async def test_an_idle_connection(start_proxy: Starter) -> None:
    """After an answer a connection may be idle for a minute."""
    clock = Clock()
    running = start_proxy(clock=clock)
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bool:
            peer = connect(running.http)
            peer.send(get())
            peer.response()
            clock.advance(50)
            peer.send(get())
            peer.response()
            clock.advance(61)
            return peer.is_closed()

        assert await in_thread(client)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100",
        b"Content-Length: 10000000",
        b"Transfer-Encoding: chunked",
    ],
)
async def test_a_slow_body(start_proxy: Starter, head: bytes) -> None:
    """Each 30 KiB of a body have half a minute: 408, and the backend sees a cut."""
    clock = Clock()
    running = start_proxy(clock=clock)
    silent = Silent()

    def client() -> bytes:
        peer = connect(running.http)
        peer.send(POST + head + b"\r\n\r\n")
        assert silent.asked.wait(5)
        for _ in range(3):
            # What has come is read before the deadlines are looked at the next time.
            peer.send(b"1\r\na\r\n")
            passes(running, clock, 9)
        passes(running, clock, 9)
        return peer.rest()

    with backend(silent) as one:
        await running.serve(one)
        answer = await in_thread(client)
        assert await in_thread(silent.ended.wait, 5)
    assert answer.startswith(b"HTTP/1.1 408 ")


def passes(running: Running, clock: Clock, seconds: float) -> None:
    """Let time pass, and wait until the proxy has looked what that means; blocks."""
    clock.advance(seconds)
    wait_until(
        lambda: running.proxy._switch.wheel.now_s == clock.now_s,
        lambda: "the proxy does not look at its deadlines",
    )


class Taking:
    """A backend that takes a body of so many bytes, and then answers."""

    def __init__(self, size: int, early: bytes = b"", late: bytes = OK) -> None:
        self.size, self.early, self.late = size, early, late
        self.taken = 0

    def __call__(self, peer: Peer) -> None:
        peer.head()
        peer.send(self.early)
        while self.taken < self.size and (data := peer.recv()):
            self.taken += len(data)
        peer.send(self.late)

    def has(self, size: int) -> None:
        wait_until(lambda: self.taken >= size, lambda: f"only {self.taken} bytes came")


@pytest.mark.parametrize("piece", [31_000, 400_000])
async def test_a_body_that_makes_progress(start_proxy: Starter, piece: int) -> None:
    """Slowly, at a bit more than 1 KiB/s: it takes as long as it takes."""
    clock = Clock()
    running = start_proxy(clock=clock)
    taking = Taking(4 * piece)

    def client() -> int:
        peer = connect(running.http)
        peer.send(POST + b"Content-Length: %d\r\n\r\n" % taking.size)
        for count in range(1, 5):
            passes(running, clock, 25)
            peer.send(bytes(piece))
            taking.has(count * piece)
        return peer.response()[0]

    with backend(taking) as one:
        await running.serve(one)
        assert await in_thread(client) == 200


async def test_a_body_beside_its_answer_has_no_pace(start_proxy: Starter) -> None:
    """Who is answered already talks as slowly as it likes, but does talk."""
    clock = Clock()
    running = start_proxy(clock=clock)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab"
    taking = Taking(5, early=head, late=b"cd")

    def client() -> bytes:
        peer = connect(running.http)
        peer.send(POST + b"Content-Length: 5\r\n\r\n")
        peer.until(b"ab")
        for count in range(1, 6):
            passes(running, clock, 20)
            peer.send(b"x")
            taking.has(count)
        return peer.exactly(2)

    with backend(taking) as one:
        await running.serve(one)
        assert await in_thread(client) == b"cd"


async def test_a_slow_answer(start_proxy: Starter) -> None:
    """An app that does not answer in its time gets the client 504 (spec P3)."""
    clock = Clock()
    running = start_proxy(clock=clock)
    silent = Silent()
    with backend(silent) as one:
        await running.serve(one, options=ProxyOptions(response_timeout_s=100))
        request = get(Connection="close")

        def wait() -> object:
            return silent.asked.wait(20)

        answer = await in_thread(
            lambda: after(running, clock, request, (90, b""), (15, b""), before=wait)
        )
        assert await in_thread(silent.ended.wait, 5)
    assert answer.startswith(b"HTTP/1.1 504 ")


async def test_an_upload_that_the_app_does_not_answer(start_proxy: Starter) -> None:
    """The time of the answer begins with the end of the body."""
    clock = Clock()
    running = start_proxy(clock=clock)
    with backend(Silent()) as one:
        await running.serve(one)
        answer = await in_thread(
            after,
            running,
            clock,
            POST + b"Connection: close\r\nContent-Length: 6\r\n\r\n",
            (29, b"abc"),
            (29, b"def"),
            (50, b""),
            (15, b""),
        )
    assert answer.startswith(b"HTTP/1.1 504 ")


async def test_an_answer_that_stalls(start_proxy: Starter) -> None:
    """A stream may be silent for long, not for ever; the client sees the cut."""
    clock = Clock()
    running = start_proxy(clock=clock)
    silent = Silent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with backend(silent) as one:
        await running.serve(one, options=ProxyOptions(tunnel_idle_s=500))

        def wait() -> object:
            return silent.asked.wait(20)

        answer = await in_thread(
            lambda: after(running, clock, get(), (400, b""), (110, b""), before=wait)
        )
    assert answer.endswith(b"chunked\r\n\r\n")
    assert running.records[0].outcome == "cut"


async def test_a_reader_that_stalls(start_proxy: Starter) -> None:
    """A client that takes nothing for a minute is cut, its upstream let go."""
    clock = Clock()
    running = start_proxy(clock=clock)
    ended = threading.Event()
    stuck = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.socket.settimeout(0.3)
        try:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
            while True:
                peer.socket.send(b"x" * 65536)
        except TimeoutError:
            stuck.set()
        peer.socket.settimeout(20)
        try:
            peer.recv()
        finally:
            ended.set()

    with backend(script) as one:
        await running.serve(one)

        def client() -> None:
            peer = Peer(socket.socket())
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            peer.socket.connect(("127.0.0.1", running.http))
            peer.send(get())
            assert stuck.wait(20)
            threading.Event().wait(0.05)
            clock.advance(61)
            assert ended.wait(20)

        await in_thread(client)
    assert running.records[0].outcome == "cut"


async def test_a_replica_that_takes_no_connection(start_proxy: Starter) -> None:
    """After the limit of the dial the next replica serves; without one it is 504."""
    clock = Clock()
    running = start_proxy(clock=clock)
    # A full backlog: the handshake of the third connection gets no answer.
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(3)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    hanging = Upstream("hanging", Address("127.0.0.1", full.getsockname()[1]))
    try:
        with backend(answering(OK)) as good:
            await running.serve(hanging, good)

            def twice() -> list[bytes]:
                answers = []
                for _ in range(2):
                    peer = connect(running.http)
                    peer.send(get())
                    threading.Event().wait(0.05)
                    clock.advance(6)
                    answers.append(peer.head()[9:12])
                    peer.close()
                return answers

            assert await in_thread(twice) == [b"200", b"200"]
            await running.serve(hanging)
            answer = await in_thread(
                after, running, clock, get(Connection="close"), (6, b"")
            )
            assert answer.startswith(b"HTTP/1.1 504 ")
    finally:
        for one in waiting:
            one.close()
        full.close()


async def test_waiting_for_a_connection_has_an_end(start_proxy: Starter) -> None:
    """A request that gets no connection under the cap gets 503 with a time."""
    clock = Clock()
    running = start_proxy(clock=clock)
    silent = Silent(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with backend(silent) as one:
        options = ProxyOptions(max_connections=1, response_timeout_s=60)
        await running.serve(one, options=options)

        def first() -> Peer:
            peer = connect(running.http)
            peer.send(get())
            peer.head()
            return peer

        await in_thread(first)
        answer = await in_thread(
            after, running, clock, get(Connection="close"), (61, b"")
        )
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: " in answer


async def test_hundreds_of_stalled_answers_hold_up_nobody(
    start_proxy: Starter,
) -> None:
    """By default one app's slow readers and WebSockets do not fill its replica's cap.

    Reliability section 4: normal requests go on beside them. With a cap of 256 the
    next request of that app waited for a minute.
    """
    stalled = 300
    begun = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        if b"/small" in peer.head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            begun.release()
        peer.recv()

    running = start_proxy()
    with backend(script) as one:
        await running.serve(one)

        def clients() -> bytes:
            for _ in range(stalled):
                connect(running.http).send(get())
                assert begun.acquire(timeout=10)
            peer = connect(running.http)
            peer.send(get(target="/small", Connection="close"))
            return peer.rest()

        assert (await in_thread(clients)).endswith(b"\r\n\r\nok")


async def test_idle_upstream_connections_are_closed(start_proxy: Starter) -> None:
    """After a minute of idleness, or at once when the replica leaves the table."""
    clock = Clock()
    running = start_proxy(clock=clock)
    silent = Silent(OK)
    with backend(silent) as one:
        await running.serve(one)

        def client() -> None:
            peer = connect(running.http)
            peer.send(get())
            peer.response()

        await in_thread(client)
        clock.advance(61)
        assert await in_thread(silent.ended.wait, 5)
    other = Silent(OK)
    with backend(other) as one:
        await running.serve(one)
        await in_thread(client)
        await running.serve()
        assert await in_thread(other.ended.wait, 5)


async def test_a_stop_lets_requests_end(start_proxy: Starter) -> None:
    """No connection is accepted any more; what is under way is answered (P20)."""
    running = start_proxy(stop_s=5.0)
    go = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        go.wait(20)
        peer.send(OK)

    with backend(script) as one:
        await running.serve(one)
        port = running.http

        def start() -> tuple[Peer, Peer]:
            idle = connect(port)
            peer = connect(port)
            peer.send(get())
            while not running.proxy.stats().requests_active:
                threading.Event().wait(0.01)
            return idle, peer

        idle, peer = await in_thread(start)
        stopped = running.proxy.stopService()

        def rest() -> bytes:
            assert idle.is_closed()
            try:
                connect(port)
            except ConnectionRefusedError:
                go.set()
            return peer.rest()

        answer = await in_thread(rest)
        await stopped
    assert b"Connection: close\r\n" in answer
    assert answer.endswith(b"hello")


async def test_tls_without_a_request_is_closed_in_order(start_proxy: Starter) -> None:
    """An idle TLS client is told with close_notify."""
    clock = Clock()
    running = start_proxy(plain=False, clock=clock)

    def client() -> bytes:
        peer = connect_tls(running.https)
        clock.advance(11)
        return peer.rest()

    assert await in_thread(client) == b""
