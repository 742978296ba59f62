"""Frames made by hand, and a decoder of what the engine writes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import hpack

from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import Event
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.stream_state import Stream

GET = (
    (":method", "GET"),
    (":scheme", "https"),
    (":path", "/"),
    (":authority", "app.example.com"),
)
POST = ((":method", "POST"), *GET[1:])

Fields = Iterable[tuple[str, str]]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream: int
    body: bytes


def frame(kind: int, flags: int = 0, stream: int = 0, body: bytes = b"") -> bytes:
    return frames.HEADER.pack(len(body) << 8 | kind, flags, stream) + body


def block(fields: Fields = GET) -> bytes:
    """Return a block that leaves the dynamic table alone."""
    return b"".join(
        b"\x10" + bytes([len(n)]) + n.encode() + _length(v) + v.encode("latin-1")
        for n, v in fields
    )


def _length(text: str) -> bytes:
    size = len(text.encode("latin-1"))
    if size < 127:
        return bytes([size])
    size -= 127
    coded = b"\x7f"
    while size > 127:
        coded += bytes([size & 127 | 128])
        size >>= 7
    return coded + bytes([size])


def head(
    stream: int = 1, fields: Fields = GET, *, end: bool = True, flags: int = 4
) -> bytes:
    return frame(frames.HEADERS, flags | end, stream, block(fields))


def number(value: int) -> bytes:
    return frames.NUMBER.pack(value)


def split(data: bytes) -> list[Frame]:
    """Return the frames in C{data}; a preface is skipped."""
    data = data.removeprefix(frames.PREFACE)
    found = []
    while data:
        length, flags, stream = frames.HEADER.unpack_from(data)
        size = length >> 8
        found.append(Frame(length & 0xFF, flags, stream, data[9 : 9 + size]))
        assert len(found[-1].body) == size
        data = data[9 + size :]
    return found


def decode(body: bytes) -> list[tuple[str, str]]:
    return [
        (n.decode("latin-1"), v.decode("latin-1"))
        for n, v in hpack.Decoder().decode(body, raw=True)
    ]


def server(*, greeted: bool = True, **rest: int) -> Engine:
    """Return an engine that has said its greeting, and usually heard one."""
    engine = Engine(client=False, now_s=0.0, **rest)
    if greeted:
        assert engine.receive(frames.PREFACE + frame(frames.SETTINGS), 0.0) == []
        engine.take()
    return engine


def client() -> Engine:
    """Return a client's engine that was greeted."""
    engine = Engine(client=True, now_s=0.0)
    assert engine.receive(frame(frames.SETTINGS), 0.0) == []
    engine.take()
    return engine


def failure(engine: Engine) -> int:
    """Return the code of the GOAWAY that ends what was written."""
    assert engine.failed
    last = split(engine.take())[-1]
    assert last.kind == frames.GOAWAY
    return int(frames.NUMBER.unpack_from(last.body, 4)[0])


def resets(engine: Engine) -> list[tuple[int, int]]:
    """Return the streams that were reset with what was written, and the codes."""
    assert not engine.failed
    return [
        (one.stream, frames.NUMBER.unpack(one.body)[0])
        for one in split(engine.take())
        if one.kind == frames.RST_STREAM
    ]


def kinds(events: list[Event]) -> list[tuple[int, int]]:
    """Return kind and stream number of events."""
    return [(kind, stream.id) for kind, stream, _ in events]


def opened(engine: Engine, stream: int = 1, *, end: bool = False) -> Stream:
    """Let the peer open a stream and return it."""
    engine.receive(head(stream, end=end), 0.0)
    return engine.streams[stream]
