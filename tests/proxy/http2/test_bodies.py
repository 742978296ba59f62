"""Bodies in a buffer that is only lent: they mean what they mean as bytes."""

from __future__ import annotations

import hashlib
import os
import threading

import pytest

from haloy.proxy.http2 import frames
from haloy.proxy.http2.budget import BURST, EARNED_BY_BYTE
from haloy.proxy.http2.control import BODY, RESET, Event
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.stream_state import content_bytes
from tests.proxy.conftest import Starter
from tests.proxy.http2.clients import H2Client, until
from tests.proxy.http2.support import (
    POST,
    block,
    failure,
    frame,
    head,
    number,
    server,
    split,
)
from tests.proxy.support import Peer, backend, in_thread

DATA, END, PADDED = frames.DATA, frames.END_STREAM, frames.PADDED
FULL = frames.FRAME_BYTES
BODY_BYTES = os.urandom(FULL)
WINDOW = frame(frames.WINDOW_UPDATE, 0, 0, number(7))


def full(stream: int, count: int = 1) -> bytes:
    return frame(DATA, 0, stream, BODY_BYTES) * count


# What comes after two heads, of streams 1 and 3.
STREAMS = {
    "one body": full(1, 3) + frame(DATA, END, 1, b"end"),
    "full to its end": full(1, 2) + frame(DATA, END, 1, BODY_BYTES),
    "after its end": frame(DATA, END, 1, BODY_BYTES) + full(1),
    "in turn": full(1) + full(3, 2) + full(1) + frame(DATA, END, 3),
    "by turns": (full(1) + full(3)) * 4,
    "by turns, and its end": full(1) + full(3) + frame(DATA, END, 1, b"e") + full(3),
    "shorter ones": (frame(DATA, 0, 1, b"x" * 9000) + frame(DATA, 0, 3, b"y" * 64)) * 4,
    "small ones": (full(1) + frame(DATA, 0, 3, b"y" * 63)) * 2 + frame(DATA, 0, 1),
    "for nobody": full(1) + full(0) + full(1),
    "pieces": full(1) + frame(DATA, 0, 1, b"x" * 300) + full(1),
    "padded": frame(DATA, PADDED, 1, b"\xff" + BODY_BYTES[1:]) + full(1, 2),
    "all padding": frame(DATA, PADDED, 1, b"\xff" + bytes(255)) + full(1, 2),
    "too much padding": full(1) + frame(DATA, PADDED, 1, b"\5abc"),
    "others between": full(1) + WINDOW + full(1) + frame(frames.PING, 0, 0, b"8" * 8),
    "reset between": full(1) + frame(frames.RST_STREAM, 0, 1, number(8)) + full(3, 2),
    "past the stream's window": full(1, 4),
    "past the connection's window": full(1, 2) + full(3, 3),
    "unknown stream": full(1, 2) + full(5),
    "a head between": full(1) + head(5, POST) + full(1),
    "a block in two frames": frame(frames.HEADERS, 0, 5, block(POST)[:9])
    + frame(frames.CONTINUATION, 4, 5, block(POST)[9:])
    + full(1, 2),
    "inside a block": full(1) + frame(frames.HEADERS, 0, 5, block()[:9]) + full(1),
    "trailers": full(1, 2) + head(1, (("x-sum", "1"),)) + full(3),
    "reserved bit": full(1) + b"\0\x40\0\0\0\x80\0\0\1" + BODY_BYTES + full(1),
    "too large": full(1) + b"\0\x40\1\0\0\0\0\0\1",
}


def opened(*, told: int = -1, grows: bool) -> Engine:
    engine = server()
    engine.receive(head(1, POST, end=False) + head(3, POST, end=False), 0.0)
    engine.streams[1].left_bytes = told
    engine.may_grow = grows
    # Some are spent: it matters what is earned.
    engine.budget.tokens = BURST / 2
    engine.take()
    return engine


def state(engine: Engine) -> list[object]:
    """Return all that tells two engines apart, but how credit is cut.

    Of the connection's window it counts what is open and what is owed, together, and so
    do the tokens that come with that.
    """
    credit: dict[int, int] = {}
    others = []
    for one in split(engine.take()):
        if one.kind == frames.WINDOW_UPDATE:
            size = frames.NUMBER.unpack(one.body)[0]
            if one.stream:
                credit[one.stream] = credit.get(one.stream, 0) + size
        else:
            others.append(one)
    streams = [
        (
            one.id,
            one.receiving,
            one.receive_window,
            one.left_bytes,
            one.advanced_bytes,
            b"".join(one.inbox),
        )
        for one in engine.streams.values()
    ]
    return [
        credit,
        others,
        streams,
        engine.failed,
        engine.receive_window + engine._owed_bytes,
        engine.held_bytes,
        round(engine.budget.tokens + EARNED_BY_BYTE * engine._owed_bytes, 6),
    ]


def told(events: list[Event]) -> list[tuple[int, int, object]]:
    return [
        (kind, stream.id, what.pseudo if isinstance(what, HeaderList) else what)
        for kind, stream, what in events
    ]


def lend(engine: Engine, data: bytes) -> list[Event]:
    """Receive C{data} in a buffer that is used for something else afterwards."""
    space = bytearray(engine.take_held() + data)
    events = engine.receive(memoryview(space), 0.0)
    engine.keep_lent()
    space[:] = bytes(len(space))
    return events


@pytest.mark.parametrize("grows", [False, True])
@pytest.mark.parametrize("length", [-1, 2 * FULL, 3 * FULL + 3])
@pytest.mark.parametrize("what", STREAMS)
def test_lent_means_the_same(what: str, length: int, *, grows: bool) -> None:
    """Whatever the cuts, nothing but the copies differs."""
    data = STREAMS[what]
    for size in (len(data), 8 * FULL, FULL, FULL + 5):
        plain = opened(told=length, grows=grows)
        lent = opened(told=length, grows=grows)
        for start in range(0, len(data), size):
            piece = data[start : start + size]
            assert told(lend(lent, piece)) == told(plain.receive(piece, 0.0))
        assert state(lent) == state(plain)


def test_what_is_lent_is_held_to_the_window_of_its_stream() -> None:
    """Also where the connection's has room, which got back what came before."""
    engine = opened(grows=True)
    lend(engine, full(1, 4))
    events = told(lend(engine, full(3) + full(1) + full(3)))
    assert events == [(BODY, 3, None), (RESET, 1, frames.FLOW_CONTROL_ERROR)]
    assert content_bytes(engine.streams[3]) == 2 * FULL


def test_what_is_taken_at_once_is_bytes() -> None:
    """Whoever takes a body may keep it, though its buffer is used again."""
    engine = opened(grows=False)
    space = bytearray(full(1, 2) + full(3))
    events = engine.receive(memoryview(space), 0.0)
    assert [(kind, stream.id) for kind, stream, _ in events] == [(BODY, 1), (BODY, 3)]
    taken = [engine.take_body(engine.streams[one]) for one in (1, 3)]
    engine.keep_lent()
    space[:] = bytes(len(space))
    assert taken == [BODY_BYTES * 2, BODY_BYTES]
    assert engine.held_bytes == 3 * FULL


def test_a_greeting_may_be_lent() -> None:
    """And what has to come first still has to."""
    greeted = Engine(client=False, now_s=0.0)
    first = frames.PREFACE + frame(frames.SETTINGS) + head(1, POST, end=False)
    assert len(lend(greeted, first + full(1))) == 2
    rude = Engine(client=False, now_s=0.0)
    lend(rude, frames.PREFACE + frame(frames.SETTINGS)[:5])
    lend(rude, frame(frames.SETTINGS)[5:] + frame(DATA, 0, 1, b"x"))
    assert failure(rude) == frames.PROTOCOL_ERROR
    unasked = Engine(client=False, now_s=0.0)
    unasked.receive(frames.PREFACE, 0.0)
    lend(unasked, full(1))
    assert failure(unasked) == frames.PROTOCOL_ERROR


async def test_uploads_side_by_side(start_http2: Starter) -> None:
    """What waits for a slow app is not what another connection sent meanwhile."""
    running = start_http2()
    # More than the kernel takes for an app that does not read.
    size = 16_000_000
    go_on = threading.Event()

    def script(peer: Peer) -> None:
        while block := peer.head():
            if b"/slow" in block:
                assert go_on.wait(60)
            digest = hashlib.sha256(peer.exactly(size)).hexdigest().encode()
            peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + digest)

    def client(path: str) -> tuple[bytes, bytes]:
        body = os.urandom(size // 16) * 16
        fields = [("content-length", str(size))]
        answer = H2Client(running.https).get(
            path, method="POST", fields=fields, body=body
        )
        if path != "/slow":
            go_on.set()
        return answer.body, hashlib.sha256(body).hexdigest().encode()

    with backend(script) as app:
        await running.serve(app)
        slow = in_thread(lambda: client("/slow"))
        await until(lambda: running.proxy._switch.waits > 0, limit_s=50)
        fast = await in_thread(lambda: client("/fast"))
        for told, sent in (fast, await slow):
            assert told == sent
    assert running.proxy._switch.waits == 0
