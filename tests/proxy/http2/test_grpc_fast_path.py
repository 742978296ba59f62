"""The short way of calls does what the general way does, scene by scene.

A client that names its calls goes the general way, so each scene is played twice.
"""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.grpc_fast_path import GrpcFastCall
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import Answer, H2Client, until
from tests.proxy.http2.support import (
    Fields,
    Frame,
    block,
    decode,
    frame,
    number,
)
from tests.proxy.support import Backend, Peer, backend, in_thread

OPTIONS = ProxyOptions(protocol=Protocol.H2C, max_body_bytes=60_000)
CALL = (("content-type", "application/grpc"), ("te", "trailers"))
MESSAGE = b"\0\0\0\0\3abc"
HEAD = ((":status", "200"), ("content-type", "application/grpc"), ("x-a", "1"))


def heads(fields: Fields = HEAD, *, end: bool = False) -> bytes:
    return frame(frames.HEADERS, 4 | end, 1, block(fields))


def data(payload: bytes, *, end: bool = False) -> bytes:
    return frame(frames.DATA, end, 1, payload)


def trailers(status: int = 0, *more: tuple[str, str]) -> bytes:
    return heads((("grpc-status", str(status)), *more), end=True)


def reset(code: int) -> bytes:
    return frame(frames.RST_STREAM, 0, 1, number(code))


WHOLE = heads() + data(MESSAGE) + trailers()
# What the app sends, in pieces, with 1 for the number of the stream.
ANSWERS: dict[str, list[bytes]] = {
    "/whole": [WHOLE],
    "/parts": [heads(), data(MESSAGE) + trailers()],
    "/late-trailers": [heads() + data(MESSAGE), trailers()],
    "/trailers-only": [heads((*HEAD, ("grpc-status", "5")), end=True)],
    "/failed": [heads() + trailers(13, ("grpc-message", "no"))],
    "/no-message": [heads() + trailers()],
    "/no-trailers": [heads() + data(MESSAGE, end=True)],
    "/length": [heads((*HEAD, ("content-length", "8"))) + data(MESSAGE, end=True)],
    "/bad-trailers": [heads() + data(MESSAGE) + trailers(0, ("connection", "x"))],
    "/cookie": [heads((*HEAD, ("set-cookie", "a=1"))) + data(b"x") + trailers()],
    "/early": [heads(((":status", "103"), ("link", "</a>"))) + WHOLE],
    "/missing": [heads(((":status", "404"),)) + data(b"no", end=True)],
    "/nothing": [heads(((":status", "204"),), end=True)],
    "/large": [heads() + data(b"x" * 16000) * 3 + trailers()],
    "/not-wanted": [WHOLE + reset(frames.NO_ERROR)],
    "/reset": [reset(frames.INTERNAL_ERROR)],
    "/refused": [reset(frames.REFUSED_STREAM)],
    "/reset-later": [heads(), reset(frames.CANCEL)],
    "/goodbye": [WHOLE + frame(frames.GOAWAY, 0, 0, number(99) + number(0))],
    "/bad": [data(MESSAGE)],
    "/cut": [heads()],
    "/silent": [],
}
_ENDS = {"/cut", "/silent", "/goodbye"}
_NAMES = {"x-request-id", "traceparent"}


def of_stream(answer: bytes, stream: int) -> bytes:
    """Return frames as those of C{stream}."""
    made = b""
    while answer:
        length, flags, one = frames.HEADER.unpack_from(answer)
        end = 9 + (length >> 8)
        made += frames.HEADER.pack(length, flags, stream if one else 0)
        made += answer[9:end]
        answer = answer[end:]
    return made


def scripted(peer: Peer, seen: list[object]) -> None:
    """Answer by the path when a call has come whole, and note what it was."""
    assert peer.exactly(24) == frames.PREFACE
    peer.send(frame(frames.SETTINGS))
    asked: dict[int, tuple[list[tuple[str, str]], bytes]] = {}
    while len(start := peer.exactly(9)) == 9:
        length, flags, stream = frames.HEADER.unpack(start)
        one = Frame(length & 0xFF, flags, stream, peer.exactly(length >> 8))
        if one.kind == frames.HEADERS and stream not in asked:
            asked[stream] = (decode(one.body), b"")
        elif one.kind == frames.HEADERS:
            seen.append(decode(one.body))
        elif one.kind == frames.DATA:
            fields, body = asked[stream]
            asked[stream] = (fields, body + one.body)
            if one.body:
                peer.send(frames.window_update(0, len(one.body)))
        if stream not in asked or not flags & frames.END_STREAM:
            continue
        if one.kind not in (frames.HEADERS, frames.DATA):
            continue
        fields, body = asked.pop(stream)
        path = dict(fields)[":path"].partition("?")[0]
        seen.append(([one for one in fields if one[0] not in _NAMES], body))
        for piece in ANSWERS[path]:
            peer.send(of_stream(piece, stream))
        if path in _ENDS:
            # Closing would be a reset, which overtakes the answer.
            peer.socket.shutdown(socket.SHUT_WR)
            peer.until(b"impossible")
            return


class Caller(H2Client):
    """One that sends a call with everything in one segment."""

    def call(
        self,
        path: str = "/whole",
        fields: Fields = CALL,
        body: bytes = MESSAGE,
        trailing: Fields = (),
    ) -> int:
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        pseudo: list[Any] = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", self.name),
        ]
        self.h2.send_headers(stream, [*pseudo, *fields])
        for start in range(0, len(body), 16384):
            self.h2.send_data(stream, body[start : start + 16384])
        if trailing:
            self.h2.send_headers(stream, [*trailing], end_stream=True)
        else:
            self.h2.end_stream(stream)
        self.flush()
        return stream

    def called(self, *args: Any, **rest: Any) -> Answer:
        return self.answer(self.call(*args, **rest))


async def play(
    running: Running, path: str, *, named: bool, window: int = 65535, **rest: Any
) -> tuple[list[Answer], list[Any]]:
    """Call some times; return all that can be seen from outside."""
    running.records.clear()
    fields = list(CALL)
    if named:
        fields.append(("traceparent", f"00-{'1' * 32}-{'1' * 16}-01"))
    shown: list[Answer] = []

    def ask() -> None:
        client = Caller(running.https, window=window)
        for _ in range(3):
            assert client.called(fields=fields).body == MESSAGE
        shown.extend(client.called(path, fields, **rest) for _ in range(4))
        client.close()

    await in_thread(ask)
    records = [
        one._replace(request_id="", traceparent="", head_s=0.0, total_s=0.0)
        for one in running.records
    ]
    for answer in shown:
        answer.fields = [one for one in answer.fields if one[0] != "x-request-id"]
        # Pages of ours tell it, too.
        if answer.status >= 500:
            answer.body = b""
    return shown, records


async def both(running: Running, app: Backend, seen: list[object], **rest: Any) -> None:
    """Play a scene both ways."""
    await running.serve(app, options=OPTIONS)
    general = await play(running, named=True, **rest)
    asked, seen[:] = list(seen), []
    short = await play(running, named=False, **rest)
    assert short == general
    assert seen == asked
    assert len(general[0]) == 4
    assert all(not one.outstanding for one in running.proxy._switch.pools.values())


@pytest.mark.parametrize("path", ANSWERS)
async def test_both_ways_are_one(start_http2: Starter, path: str) -> None:
    """To the client, the app and the log."""
    running = start_http2()
    seen: list[object] = []
    with backend(lambda peer: scripted(peer, seen)) as app:
        await both(running, app, seen, path=path)


@pytest.mark.parametrize(
    "rest",
    [
        {"body": b""},
        {"body": b"x" * 16384},
        {"body": b"x" * 16385},
        {"body": b"x" * 50_000},
        {"body": b"x" * 62_000},
        {"trailing": (("x-sum", "1"),)},
        {"path": "/whole?a=1"},
        {"window": 4},
    ],
)
async def test_requests_of_both_ways_are_one(
    start_http2: Starter, rest: dict[str, Any]
) -> None:
    """Without a body, with a long one, one that is too long; with trailers.

    And from clients that take an answer in small pieces.
    """
    running = start_http2()
    seen: list[object] = []
    with backend(lambda peer: scripted(peer, seen)) as app:
        await both(running, app, seen, **{"path": "/whole", **rest})


async def test_a_body_is_as_long_as_was_told(start_http2: Starter) -> None:
    """By either way; another one reaches nobody."""
    running = start_http2()
    seen: list[object] = []
    fields = (*CALL, ("content-length", "8"))

    def ask() -> list[int | None]:
        client = Caller(running.https)
        found = [client.called(fields=fields).status for _ in range(4)]
        client.h2.config.validate_outbound_headers = False
        again = client.answer(client.call(fields=fields, body=b"short"))
        return [*found, again.reset]

    with backend(lambda peer: scripted(peer, seen)) as app:
        await running.serve(app, options=OPTIONS)
        assert await in_thread(ask) == [200] * 4 + [frames.PROTOCOL_ERROR]
    assert len(seen) == 4


def owners(running: Running) -> list[object]:
    return [
        stream.owner
        for client in running.proxy._switch.clients
        if isinstance(client, Http2Downstream)
        for stream in client.engine.streams.values()
    ]


async def test_a_call_under_way_may_end_in_all_ways(start_http2: Starter) -> None:
    """Taken back by its client; timed out; with either connection gone."""
    asked = threading.Event()
    held: list[Peer] = []
    cancelled: list[int] = []

    def script(peer: Peer) -> None:
        assert peer.exactly(24) == frames.PREFACE
        held.append(peer)
        peer.send(frame(frames.SETTINGS))
        while len(start := peer.exactly(9)) == 9:
            length, _, stream = frames.HEADER.unpack(start)
            body = peer.exactly(length >> 8)
            if length & 0xFF == frames.RST_STREAM:
                cancelled.append(stream)
            elif length & 0xFF == frames.DATA and body == MESSAGE:
                peer.send(of_stream(WHOLE, stream))
            elif length & 0xFF == frames.DATA and body:
                asked.set()

    running = start_http2()
    options = ProxyOptions(protocol=Protocol.H2C, tunnel_idle_s=1.0)

    async def hanging(client: Caller) -> int:
        for _ in range(3):
            assert (await in_thread(client.called)).body == MESSAGE
        asked.clear()
        stream = await in_thread(lambda: client.call(body=b"hang"))
        assert await in_thread(asked.wait, 10)
        (owner,) = owners(running)
        assert isinstance(owner, GrpcFastCall)
        return stream

    with backend(script) as app:
        await running.serve(app, options=options)
        client = await in_thread(lambda: Caller(running.https))
        stream = await hanging(client)
        await in_thread(client.cancel, stream)
        await until(lambda: len(cancelled) == 1)
        stream = await hanging(client)
        assert (await in_thread(client.answer, stream)).status == 504
        await until(lambda: len(cancelled) == 2)
        stream = await hanging(client)
        held[-1].socket.shutdown(2)
        assert (await in_thread(client.answer, stream)).status == 502
        stream = await hanging(client)
        client.close()
        await until(lambda: len(cancelled) == 3)
        await until(lambda: running.records[-1].outcome == "gone")
        (pool,) = running.proxy._switch.pools.values()
        assert pool.outstanding == 0
    assert {one.outcome for one in running.records} == {"done", "gone"}
