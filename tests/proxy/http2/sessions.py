"""Whole sessions from any bytes: what must hold whatever a peer sends.

Used with hypothesis' examples by C{test_sessions}, and by atheris in C{fuzz/}.
"""

from __future__ import annotations

from typing import Any

from haloy.proxy.fields import BadHead
from haloy.proxy.head import parse_request, render_request
from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import BODY, CALL, END, ENDED_REQUEST, FAILED, REQUEST
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.engine import STREAMS_LIMIT, Engine
from haloy.proxy.http2.head import Malformed, request_of
from haloy.proxy.http2.hpack import encode
from tests.proxy.http2.support import frame, split

_ANSWER = encode([(b":status", b"200")])


def session_of(data: bytes) -> bytes:
    """Return frames made of C{data}: kind, flags, stream, length, body; again.

    So that few bytes get past the framing; what is left at the end is sent as it is.
    """
    made = []
    while len(data) >= 4:
        kind, flags, stream, size = data[:4]
        made.append(frame(kind % 12, flags, stream % 16, data[4 : 4 + size]))
        data = data[4 + size :]
    return b"".join([*made, data])


def check_session(data: bytes) -> None:
    """Feed a session, whole and in pieces, to both kinds of engine.

    The first octet chooses what is made of the others.
    """
    if len(data) < 2:
        return
    mode, cut, data = data[0], data[1], data[2:]
    if mode & 1:
        data = session_of(data)
    client = bool(mode & 2)
    start = frame(frames.SETTINGS)
    if not client:
        start = frames.PREFACE + start
    if mode & 4:
        start = b""
    data = start + data
    whole = _play([data], client=client, answers=bool(mode & 8))
    size = max(1, cut)
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    parts = _play(pieces, client=client, answers=False)
    if not mode & 8:
        assert whole == parts, "pieces mean something else"


def _play(pieces: list[bytes], *, client: bool, answers: bool) -> list[Any]:
    """Feed C{pieces}; return what happened, bodies joined."""
    engine = Engine(client=client, now_s=0.0)
    if client:
        for _ in range(3):
            engine.open(encode([(b":method", b"GET")]), end=False)
    seen: list[Any] = []
    for piece in pieces:
        for kind, stream, what in engine.receive(piece, 0.0):
            if kind == BODY:
                continue
            if kind in (REQUEST, ENDED_REQUEST, CALL):
                what = _request(what, end=kind == ENDED_REQUEST)
            if kind == CALL:
                # In pieces, it is three events.
                seen.append((REQUEST, stream.id, what))
                kind, what = END, []
            seen.append((kind, stream.id, what))
            if (
                answers
                and kind == ENDED_REQUEST
                and stream.sending
                and not engine.whole(stream, _ANSWER, b"a" * (stream.id % 9 + 1))
            ):
                engine.reset(stream, frames.CANCEL)
        _check(engine)
    if engine.failed:
        # Events of the read that failed are not acted on, wherever it began.
        seen = [one for one in seen if one[0] == FAILED][-1:]
        last = split(engine.take())[-1]
        assert last.kind == frames.GOAWAY
    return seen


def _check(engine: Engine) -> None:
    """Hold the engine to its limits."""
    assert len(engine.streams) <= STREAMS_LIMIT
    waits = sum(len(p) for s in engine.streams.values() for p in s.inbox)
    assert waits <= 1048576
    if engine.failed:
        return
    assert engine.receive_window >= 0
    assert engine.send_window <= frames.WINDOW_LIMIT
    for stream in engine.streams.values():
        assert stream.receive_window >= 0
        assert stream.send_window <= frames.WINDOW_LIMIT
        assert stream.receiving or stream.sending


def _request(fields: HeaderList | None, *, end: bool) -> Any:
    """Make a request of C{fields}; HTTP/1.1 must read it in the same way."""
    try:
        head = request_of(fields, end=end)
    except Malformed:
        return "malformed"
    except BadHead as error:
        return error.status
    text = render_request(head, b"", b"")
    assert text.endswith(b"\r\n\r\n")
    assert text.count(b"\r\n\r\n") == 1
    again = parse_request(text[:-4])
    same = ("method", "target", "host", "name", "framing", "length_bytes", "fields")
    for name in same:
        assert getattr(again, name) == getattr(head, name), name
    assert not again.close
    assert not again.upgrade
    return text
