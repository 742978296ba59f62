"""Requests over HTTP/2, through a real proxy to a real backend."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from typing import cast

import pytest
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from haloy.model.app import Domain, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy.descriptor import BULK_READ_BYTES
from haloy.proxy.http2 import frames
from haloy.proxy.http2.outgoing import HIGH_BYTES
from haloy.proxy.http2.sender import CONNECTION_WINDOW_BYTES
from haloy.proxy.http2.stream import StreamClient
from haloy.proxy.routes import RoutedApp, build_table
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, RawClient, until
from tests.proxy.http2.support import POST, frame, head, number
from tests.proxy.support import (
    WAIT_S,
    Peer,
    answering,
    backend,
    echoing,
    in_thread,
    upstream_of,
)


async def test_a_request_and_its_log(start_http2: Starter) -> None:
    """What HTTP/1.1 does: fields for the app, an id, one record."""
    running = start_http2()
    with backend(echoing) as app:
        await running.serve(app)
        answer = await in_thread(lambda: H2Client(running.https).get("/a?b"))
    assert answer.status == 200
    lines = answer.body.decode().split("\r\n")
    assert lines[:2] == ["GET /a?b HTTP/1.1", "Host: app.example.com"]
    assert "X-Forwarded-For: 127.0.0.1" in lines
    assert "X-Forwarded-Proto: https" in lines
    (record,) = running.records
    assert (record.protocol, record.status, record.outcome) == ("HTTP/2.0", 200, "done")
    assert (record.target, record.host, record.app) == (
        "/a?b",
        "app.example.com",
        "app",
    )
    assert record.bytes_out == len(answer.body)


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("size", [1, 16384, 1_000_000])
async def test_bodies_go_up_whole(start_http2: Starter, told: bool, size: int) -> None:
    """With a length or in chunks, larger than every window."""
    running = start_http2()
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    fields = [("content-length", str(size))] if told else []
    with backend(echoing) as app:
        await running.serve(app)
        answer = await in_thread(
            lambda: H2Client(running.https).get(method="PUT", fields=fields, body=body)
        )
    head, _, echoed = answer.body.partition(b"\r\n\r\n")
    assert echoed == body
    assert (b"Content-Length: %d" % size in head) == told
    assert running.records[0].bytes_in == size


async def test_an_empty_body_that_ends_later(start_http2: Starter) -> None:
    """HEADERS first, END_STREAM in a DATA frame of nothing."""
    running = start_http2()
    with backend(echoing) as app:
        await running.serve(app)
        answer = await in_thread(lambda: _late_end(running.https))
    assert answer == 200


def _late_end(port: int) -> int:
    client = H2Client(port)
    stream = client.ask(method="POST", body=None)
    client.upload(stream, b"")
    return client.answer(stream).status


async def test_trailers_go_up(start_http2: Starter) -> None:
    """Behind a chunked body; those that steer nothing."""
    running = start_http2()
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.head()
        seen.append(peer.until(b"\r\n\r\n"))
        peer.send(b"HTTP/1.1 204 No\r\n\r\n")

    def talk() -> None:
        client = RawClient(running.https)
        client.send(
            head(1, POST, end=False),
            frame(frames.DATA, 0, 1, b"abc"),
            head(1, (("x-sum", "1"), ("host", "evil"))),
        )
        assert client.status(1) == "204"

    with backend(script) as app:
        await running.serve(app)
        await in_thread(talk)
    assert seen == [b"3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n"]


async def test_interim_heads_and_trailers_come_down(start_http2: Starter) -> None:
    """103 before the answer, trailers behind it."""
    running = start_http2()
    answer = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
        b"3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
    )
    with backend(answering(answer)) as app:
        await running.serve(app)
        found = await in_thread(lambda: H2Client(running.https).get())
    assert found.interim == [[(":status", "103"), ("link", "</a.css>")]]
    assert found.body == b"abc"
    assert found.trailers == [("x-sum", "7")]
    assert "transfer-encoding" not in dict(found.fields)


@pytest.mark.parametrize(
    ("method", "head", "status", "length"),
    [
        ("HEAD", b"200 OK\r\nContent-Length: 99", 200, "99"),
        ("GET", b"204 No Content", 204, None),
        ("GET", b"304 Not Modified\r\nContent-Length: 5", 304, "5"),
        ("GET", b"200 OK\r\nContent-Length: 0", 200, "0"),
        ("GET", b"200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0", 200, None),
    ],
)
async def test_answers_without_a_body(
    start_http2: Starter, method: str, head: bytes, status: int, length: str | None
) -> None:
    """They end with their head, and the connection to the backend is used again."""
    running = start_http2()
    with backend(answering(b"HTTP/1.1 " + head + b"\r\n\r\n")) as app:
        await running.serve(app)

        def talk() -> None:
            client = H2Client(running.https)
            for _ in range(3):
                found = client.get(method=method)
                assert (found.status, found.body) == (status, b"")
                assert dict(found.fields).get("content-length") == length

        await in_thread(talk)
        assert app.connections == 1


async def test_cookies_are_one_field_again(start_http2: Starter) -> None:
    """Whatever pieces they come in."""
    running = start_http2()
    with backend(echoing) as app:
        await running.serve(app)
        fields = [("cookie", "a=1"), ("x-b", "2"), ("cookie", "c=3")]
        found = await in_thread(lambda: H2Client(running.https).get(fields=fields))
    assert found.body.count(b"ookie") == 1
    assert b"Cookie: a=1; c=3\r\n" in found.body


async def test_pages_of_our_own(start_http2: Starter) -> None:
    """404, 421, 431, 405, 413, 502: each with its body, none with Connection."""
    running = start_http2()
    options = ProxyOptions(max_body_bytes=10)

    def talk() -> list[int]:
        client = H2Client(running.https)
        found = [
            client.get("/x" * 5000),
            client.get(fields=[(f"x-{n}", "1") for n in range(120)]),
            client.get(method="TRACE"),
            client.get(method="PUT", fields=[("content-length", "11")], body=b"x" * 11),
            client.get(method="PUT", body=b"x" * 11),
            client.get("/.well-known/acme-challenge/none"),
        ]
        client.name = "other.example.com"
        found.append(client.get())
        assert all(one.body for one in found)
        assert all("connection" not in dict(one.fields) for one in found)
        assert client.get(method="HEAD").body == b""
        return [one.status for one in found]

    def nonsense(peer: Peer) -> None:
        while block := peer.head():
            if block.startswith(b"GET"):  # uploads end before they get an answer
                peer.send(b"nonsense\r\n\r\n")

    with backend(nonsense) as app:
        await running.serve(app, options=options)
        assert await in_thread(talk) == [414, 431, 405, 413, 413, 404, 404]
        found = await in_thread(lambda: H2Client(running.https).get())
        assert found.status == 502


async def test_a_malformed_request_reaches_nobody(start_http2: Starter) -> None:
    """It is reset, and logged."""
    running = start_http2()

    def talk() -> None:
        client = RawClient(running.https)
        client.send(head(1, (*POST, ("connection", "close"))))
        assert client.until(frames.RST_STREAM).body == number(frames.PROTOCOL_ERROR)

    with backend(echoing) as app:
        await running.serve(app)
        await in_thread(talk)
        assert app.connections == 0
    assert [record.status for record in running.records] == [400]


async def test_a_body_begins_with_its_head(start_http2: Starter) -> None:
    """What comes in one segment with the head counts towards the length told."""
    running = start_http2()

    def talk() -> str:
        client = RawClient(running.https)
        fields = (*POST, ("content-length", "10"))
        client.send(head(1, fields, end=False), frame(frames.DATA, 0, 1, b"12345"))
        client.send(frame(frames.PING, 0, 0, b"12345678"))
        client.until(frames.PING)
        client.send(frame(frames.DATA, frames.END_STREAM, 1, b"67890"))
        return client.status(1)

    with backend(echoing) as app:
        await running.serve(app)
        assert await in_thread(talk) == "200"
    assert [record.bytes_in for record in running.records] == [10]


@pytest.mark.parametrize(
    ("body", "flags"),
    [(b"1234", frames.END_STREAM), (b"123456789AB", frames.END_STREAM), (b"1" * 11, 0)],
)
async def test_a_body_of_another_length_reaches_nobody(
    start_http2: Starter, body: bytes, flags: int
) -> None:
    """Also if it comes in one segment with its head (RFC 9113 section 8.1.1)."""
    running = start_http2()

    def talk() -> None:
        client = RawClient(running.https)
        fields = (*POST, ("content-length", "10"))
        client.send(head(1, fields, end=False), frame(frames.DATA, flags, 1, body))
        assert client.until(frames.RST_STREAM).body == number(frames.PROTOCOL_ERROR)

    with backend(echoing) as app:
        await running.serve(app)
        await in_thread(talk)
        assert app.connections == 0
    assert [record.status for record in running.records] == [400]


async def test_a_request_taken_back_in_the_same_segment(start_http2: Starter) -> None:
    """Reaches no backend."""
    running = start_http2()

    def talk() -> None:
        client = RawClient(running.https)
        client.send(
            client.get(1), frame(frames.RST_STREAM, 0, 1, number(frames.CANCEL))
        )
        client.send(frame(frames.PING, 0, 0, b"12345678"))
        client.until(frames.PING)

    with backend(echoing) as app:
        await running.serve(app)
        await in_thread(talk)
        assert app.connections == 0


async def test_what_is_reset_in_a_read_that_breaks_a_rule_is_cancelled_too(
    start_http2: Starter,
) -> None:
    """The app's answer finds no stream; who asked it was not told before."""
    running = start_http2()
    gone = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.rest()
        gone.set()

    with backend(script) as app:
        await running.serve(app)
        client = await in_thread(lambda: RawClient(running.https))
        client.send(client.get(1))
        (pool,) = running.proxy._switch.pools.values()
        await until(lambda: pool.outstanding == 1)
        reset = frames.rst_stream(1, frames.CANCEL)
        client.send(reset, frame(frames.PING, 0, 1, bytes(8)))
        await in_thread(lambda: client.until(frames.GOAWAY))
        await until(gone.is_set)
        await until(lambda: pool.outstanding == 0)


@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_cancelled_request_is_cancelled_at_the_backend(
    start_http2: Starter, how: str
) -> None:
    """Its connection ends; the log says that the client has gone."""
    running = start_http2()
    left = threading.Event()
    there = threading.Event()

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        there.set()
        assert peer.is_closed()
        left.set()

    def talk() -> None:
        client = H2Client(running.https)
        stream = client.ask()
        client.until(lambda: client.answers[stream].body == b"abc")
        assert there.wait(WAIT_S)
        if how == "reset":
            client.cancel(stream)
            client.h2.ping(b"12345678")
            client.flush()
        else:
            client.close()
        assert left.wait(WAIT_S)

    with backend(script) as app:
        await running.serve(app)
        await in_thread(talk)
        await until(lambda: len(running.records) == 1)
    assert running.records[0].outcome == "gone"
    assert running.proxy._switch.waits == 0


async def test_an_answer_before_the_upload_has_ended(start_http2: Starter) -> None:
    """The client gets it; the rest is thrown away for seconds, then NO_ERROR."""
    now = [1000.0]
    running = start_http2(clock=lambda: now[0])
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3\r\n\r\nno\n"

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(answer)
        peer.is_closed()

    def talk() -> None:
        client = H2Client(running.https)
        stream = client.ask(method="PUT", body=None)
        found = client.answers[stream]
        client.upload(stream, b"x" * 400_000, end=False)
        client.until(lambda: bool(found.body))
        assert (found.status, found.body, found.reset) == (403, b"no\n", None)
        # More than the windows: it is taken all the same.
        found.ended = False
        client.upload(stream, b"x" * 400_000, end=False)
        now[0] += 10.0
        client.until(lambda: found.reset is not None)
        assert found.reset == frames.NO_ERROR
        assert client.get().status == 403

    with backend(script) as app:
        await running.serve(app)
        await in_thread(talk)
    assert running.proxy._switch.waits == 0


async def test_an_answer_that_breaks_is_seen_to_be_broken(start_http2: Starter) -> None:
    """RST_STREAM; the connection and its other streams go on."""
    running = start_http2()

    def script(peer: Peer) -> None:
        if b"/good" in peer.head():
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        else:
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nabc")

    def talk() -> None:
        client = H2Client(running.https)
        bad = client.get("/bad")
        assert (bad.status, bad.reset) == (200, frames.INTERNAL_ERROR)
        assert client.get("/good").body == b"ok"

    with backend(script) as app:
        await running.serve(app)
        await in_thread(talk)
    assert [record.outcome for record in running.records] == ["cut", "done"]


async def test_a_download_stops_where_the_client_stops(start_http2: Starter) -> None:
    """The backend is not read; little is held; then it goes on to the end."""
    running = start_http2()
    size = 8 * 1024 * 1024
    sent = [0]

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = b"x" * 65536
        while sent[0] < size:
            peer.send(piece)
            sent[0] += len(piece)

    client_of: list[H2Client] = []

    def begin() -> None:
        client = H2Client(running.https)
        client.takes = False
        stream = client.ask()
        client.until(lambda: len(client.answers[stream].body) == 65535)
        client_of.append(client)

    def finish() -> int:
        client = client_of[0]
        client.takes = True
        client.h2.acknowledge_received_data(65535, 1)
        client.flush()
        return len(client.answer(1).body)

    with backend(script) as app:
        await running.serve(app)
        await in_thread(begin)
        switch = running.proxy._switch
        await until(lambda: switch.waits > 0)
        assert switch.waits <= HIGH_BYTES + BULK_READ_BYTES
        assert sent[0] < size
        assert await in_thread(finish) == size
    assert switch.waits == 0


async def test_an_upload_stops_where_the_backend_stops(start_http2: Starter) -> None:
    """Credit is given for what the backend has taken; then it goes on to the end."""
    running = start_http2()
    go_on = threading.Event()
    size = 8 * 1024 * 1024
    got = [0]

    def script(peer: Peer) -> None:
        peer.head()
        assert go_on.wait(WAIT_S * 3)
        got[0] = len(peer.exactly(size))
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    def talk() -> int:
        client = H2Client(running.https)
        stream = client.ask(
            method="PUT", fields=[("content-length", str(size))], body=None
        )
        sent = 0
        client.peer.socket.settimeout(0.5)
        while True:
            room = min(client.h2.local_flow_control_window(stream), 16384)
            if room > 0:
                client.h2.send_data(stream, b"x" * room)
                sent += room
                client.flush()
                continue
            try:
                client.step()
            except TimeoutError:
                break
        stalled = sent
        go_on.set()
        client.peer.socket.settimeout(WAIT_S)
        client.upload(stream, b"x" * (size - sent))
        assert client.answer(stream).status == 200
        return stalled

    with backend(script) as app:
        await running.serve(app)
        stalled = await in_thread(talk)
    assert got[0] == size
    # What the kernel's buffers take, and one window.
    assert stalled < size


async def test_uploads_to_a_slow_app_hold_up_no_other(start_http2: Starter) -> None:
    """Bodies that nobody takes, more than a connection's window; all of it is counted.

    The slow app takes one request and does not answer it: the others wait.
    """
    running = start_http2()
    waiting = 30

    def silent(peer: Peer) -> None:
        peer.until(b"impossible")

    def stall(client: H2Client) -> None:
        client.name = "slow.example.com"
        for _ in range(waiting + 1):
            stream = client.ask(method="POST", body=None)
            client.upload(stream, b"x" * 65535, end=False)
        client.name = "app.example.com"

    def upload(client: H2Client) -> int:
        return client.get(method="POST", body=b"x" * 300_000).status

    with backend(silent) as slow, backend(echoing) as app:
        apps = [
            RoutedApp(
                AppName(name),
                (Domain(DomainName(f"{name}.example.com")),),
                (upstream_of(one),),
                ProxyOptions(max_connections=limit),
            )
            for name, one, limit in (("slow", slow, 1), ("app", app, 9))
        ]
        await running.serve(table=build_table(1, None, apps)[0])
        client = await in_thread(lambda: H2Client(running.https, named=False))
        await in_thread(stall, client)
        switch = running.proxy._switch
        await until(lambda: switch.waits >= waiting * 65535)
        assert waiting * 65535 > CONNECTION_WINDOW_BYTES
        assert await in_thread(upload, client) == 200
        client.close()
        await until(lambda: switch.waits == 0)


async def test_a_small_answer_is_not_held_up_by_large_ones(
    start_http2: Starter,
) -> None:
    """It comes long before four downloads on the same connection end."""
    running = start_http2()
    size = 20 * 1024 * 1024

    def script(peer: Peer) -> None:
        while asked := peer.head():
            if b"/big" in asked:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size // 65536):
                    peer.send(b"x" * 65536)
            else:
                peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def talk() -> None:
        client = RawClient(running.https, settings=frames.SETTING.pack(4, 0x7FFFFFFF))
        client.send(frame(frames.WINDOW_UPDATE, 0, 0, number(0x7FFF0000)))
        client.send(*(client.get(n, "/big") for n in (1, 3, 5, 7)))
        total = 0
        asked_at = 0
        while total < 4 * size:
            found = client.frame()
            assert found is not None
            if found.kind == frames.DATA and found.stream < 9:
                total += len(found.body)
            elif found.kind == frames.DATA and found.stream == 9:
                assert total - asked_at < 2 * size
                break
            if total > size // 4 and not asked_at:
                asked_at = total
                client.send(client.get(9, "/small"))
        else:
            pytest.fail("the small answer came last")
        client.peer.close()

    with backend(script) as app:
        await running.serve(app)
        await in_thread(talk)


async def test_what_the_kernel_refuses_waits(start_http2: Starter) -> None:
    """Huge windows and no reading: little is held, and nothing is lost or mixed up."""
    running = start_http2()
    size = 16 * 1024 * 1024
    body = bytes(range(256)) * (size // 256)
    head_of = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    client_of: list[RawClient] = []

    def begin() -> None:
        client = RawClient(running.https, settings=frames.SETTING.pack(4, 0x7FFFFFFF))
        client.send(frame(frames.WINDOW_UPDATE, 0, 0, number(0x7FFF0000)))
        client.send(client.get(1), client.get(3))
        client_of.append(client)

    def finish() -> dict[int, bytes]:
        found: dict[int, list[bytes]] = {1: [], 3: []}
        ended: set[int] = set()
        while ended != {1, 3}:
            one = client_of[0].until(frames.DATA)
            found[one.stream].append(one.body)
            if one.flags & frames.END_STREAM:
                ended.add(one.stream)
        return {stream: b"".join(pieces) for stream, pieces in found.items()}

    with backend(answering(head_of + body)) as app:
        await running.serve(app)
        await in_thread(begin)
        (connection,) = running.proxy._switch.clients
        await until(lambda: connection.unsent is not None)
        switch = running.proxy._switch
        await until(lambda: switch.waits > 0)
        assert len(connection.unsent or b"") < 1_000_000
        assert switch.waits < 1_000_000
        found = await in_thread(finish)
    assert found == {1: body, 3: body}
    assert switch.waits == 0


async def test_nothing_of_an_answered_request_is_held(start_http2: Starter) -> None:
    """Its deadline goes with it: a minute of requests would be a lot of memory."""
    running = start_http2()
    with backend(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")) as app:
        await running.serve(app)
        await in_thread(lambda: _many(running.https, 50))
    wheel = running.proxy._switch.wheel
    held = [what for bucket in wheel._buckets.values() for what in bucket]
    assert not [what for what in held if isinstance(what, StreamClient)]


def _many(port: int, count: int) -> None:
    client = H2Client(port)
    for _ in range(count):
        assert client.get().status == 200


@pytest.mark.parametrize("room", [0, 20_000, 65_535])
async def test_what_came_of_a_broken_answer_goes_before_the_reset(
    start_http2: Starter, room: int
) -> None:
    """However little the client takes at a time: how much it has is no accident."""
    running = start_http2()
    size = 60_000

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * size)

    def ask() -> RawClient:
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, room)
        client = RawClient(running.https, settings=settings)
        client.send(client.get(1))
        assert client.status(1) == "200"
        return client

    def take(client: RawClient) -> tuple[int, int]:
        client.send(frame(frames.WINDOW_UPDATE, 0, 1, number(size)))
        got = 0
        while (found := client.frame()) and found.kind != frames.RST_STREAM:
            got += len(found.body) if found.kind == frames.DATA else 0
        assert found is not None
        return got, frames.NUMBER.unpack(found.body)[0]

    with backend(script) as app:
        await running.serve(app)
        client = await in_thread(ask)
        await until(lambda: [one.outcome for one in running.records] == ["cut"])
        assert await in_thread(take, client) == (size, frames.INTERNAL_ERROR)
        assert running.proxy._switch.waits == 0


@pytest.mark.parametrize("kind", ["broken", "whole", "under way"])
async def test_an_answer_that_nobody_takes_is_reset(
    start_http2: Starter, kind: str
) -> None:
    """A minute later, however much the app was given to answer."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - once installed

    now = [1000.0]
    running = start_http2(clock=lambda: now[0])
    patient = ProxyOptions(response_timeout_s=600.0)
    size = 3 if kind == "whole" else 9999

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nxxx" % size)
        if kind == "under way":
            peer.rest()

    def ask() -> RawClient:
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 0)
        client = RawClient(running.https, settings=settings)
        client.send(client.get(1))
        assert client.status(1) == "200"
        return client

    with backend(script) as app:
        await running.serve(app, options=patient)
        client = await in_thread(ask)
        await until(lambda: len(running.records) == (kind != "under way"))
        await until(lambda: running.proxy._switch.waits == 3)
        now[0] += 55.0
        await deferLater(cast(IReactorTime, reactor), 0.4)
        assert running.proxy._switch.waits == 3
        now[0] += 10.0
        found = await in_thread(client.until, frames.RST_STREAM)
        assert found.body == number(frames.CANCEL)
        assert running.proxy._switch.waits == 0


async def test_who_talks_on_and_takes_nothing_is_reset(start_http2: Starter) -> None:
    """A minute after it took the last of the answer: its words are no progress."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - once installed

    now = [1000.0]
    running = start_http2(clock=lambda: now[0])

    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nxxx")
        peer.rest()

    def ask() -> RawClient:
        settings = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 0)
        client = RawClient(running.https, settings=settings)
        client.send(head(1, POST, end=False))
        assert client.status(1) == "200"
        return client

    with backend(script) as app:
        await running.serve(app)
        client = await in_thread(ask)
        await until(lambda: running.proxy._switch.waits == 3)
        for waited_s in (20.0, 20.0, 15.0, 10.0):
            assert running.proxy._switch.waits == 3
            client.send(frame(frames.DATA, 0, 1, b"a word"))
            await deferLater(cast(IReactorTime, reactor), 0.2)
            now[0] += waited_s
            await deferLater(cast(IReactorTime, reactor), 0.2)
        found = await in_thread(client.until, frames.RST_STREAM)
        assert found.body == number(frames.CANCEL)


@pytest.fixture
def no_look_for_garbage() -> Iterator[None]:
    """Have only that freed which nobody holds."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_look_for_garbage")
async def test_what_is_over_is_free_at_once(start_http2: Starter) -> None:
    """However it ended: a look for garbage, of thousands, is a stop of 100 ms."""
    running = start_http2()

    def client() -> list[int]:
        one = RawClient(running.https)
        # Answered; ended and answered; answered in the middle, and cut; taken back.
        one.send(head(1, POST))
        statuses = [one.status(1)]
        one.send(head(3, POST, end=False), frame(0, 1, 3, b"x"))
        statuses.append(one.status(3))
        wrong = [(n, "none.example" if n == ":authority" else v) for n, v in POST]
        one.send(head(5, wrong, end=False))
        statuses.append(one.status(5))
        one.send(frame(0, 1, 5, b"x"), head(7, POST, end=False))
        one.send(frame(frames.RST_STREAM, 0, 7, number(frames.CANCEL)), one.get(9))
        statuses.append(one.status(9))
        # And one that goes with its connection.
        one.send(head(11, POST, end=False))
        one.peer.close()
        return [int(status) for status in statuses]

    def left() -> int:
        switch = running.proxy._switch
        return sum(
            isinstance(one, StreamClient) and one.switch is switch
            for one in gc.get_objects()
        )

    with backend(echoing) as app:
        await running.serve(app)
        assert await in_thread(client) == [200, 200, 404, 200]
        await until(lambda: not left())
