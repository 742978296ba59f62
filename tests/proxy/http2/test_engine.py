"""The engine against frames made by hand: every rule that a peer can break."""

from __future__ import annotations

import pytest

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.control import (
    BODY,
    CALL,
    END,
    ENDED_REQUEST,
    FAILED,
    INTERIM,
    REQUEST,
    RESET,
    RESPONSE,
    Event,
)
from haloy.proxy.http2.engine import STREAMS_LIMIT, Engine
from tests.proxy.http2.support import (
    GET,
    POST,
    block,
    client,
    decode,
    failure,
    frame,
    head,
    kinds,
    number,
    opened,
    resets,
    server,
    split,
)

DATA, HEADERS, CONTINUATION = frames.DATA, frames.HEADERS, frames.CONTINUATION

# What ends the connection: what the peer sends, and the code of GOAWAY. Stream 1 is
# open, 3 is half-closed by the peer, 5 is closed; 7 has never been.
FATAL = {
    "DATA on stream 0": (frame(DATA, 0, 0, b"x"), 1),
    "DATA on an idle stream": (frame(DATA, 0, 7, b"x"), 1),
    "DATA on an even stream": (frame(DATA, 0, 2, b"x"), 1),
    "DATA on a closed stream": (frame(DATA, 0, 5, b"x"), 5),
    "DATA with too much padding": (frame(DATA, 8, 1, b"\5abc"), 1),
    "HEADERS on stream 0": (head(0), 1),
    "HEADERS on an even stream": (head(2), 1),
    "HEADERS on a closed stream": (head(5), 5),
    "HEADERS after the end": (head(3), 5),
    "HEADERS with too much padding": (frame(HEADERS, 12, 7, b"\5abc"), 1),
    "HEADERS without their priority": (frame(HEADERS, 36, 7, b"abc"), 6),
    "HEADERS that depend on themselves": (
        frame(HEADERS, 36, 7, number(7) + b"\0" + block()),
        1,
    ),
    "a block that cannot be decoded": (frame(HEADERS, 5, 7, b"\x80"), 9),
    "a block that ends early": (frame(HEADERS, 5, 7, b"\x00\x05"), 9),
    "CONTINUATION of nothing": (frame(CONTINUATION, 4, 1, b""), 1),
    "CONTINUATION of another stream": (
        frame(HEADERS, 1, 7, b"") + frame(CONTINUATION, 4, 9, b""),
        1,
    ),
    "another frame inside a block": (
        frame(HEADERS, 1, 7, b"") + frame(frames.PING, 0, 0, b"12345678"),
        1,
    ),
    "an unknown frame inside a block": (frame(HEADERS, 1, 7, b"") + frame(99), 1),
    "CONTINUATIONs without end": (
        frame(HEADERS, 1, 7, b"") + frame(CONTINUATION, 0, 7, b"") * 16,
        11,
    ),
    "a block beyond measure": (
        frame(HEADERS, 1, 7, b"a" * 16384)
        + frame(CONTINUATION, 0, 7, b"a" * 16384) * 3
        + frame(CONTINUATION, 0, 7, b"a"),
        11,
    ),
    "a frame too large": (b"\0\x40\1\0\0\0\0\0\1", 6),
    "PUSH_PROMISE": (frame(frames.PUSH_PROMISE, 4, 1, number(2)), 1),
}


def in_every_state() -> Engine:
    """Return a server's engine with the streams that C{FATAL} speaks of."""
    engine = server()
    engine.receive(head(1, POST, end=False) + head(3) + head(5), 0.0)
    engine.headers(engine.streams[5], b"\x88", end=True)
    engine.take()
    assert sorted(engine.streams) == [1, 3]
    return engine


@pytest.mark.parametrize("what", FATAL)
def test_a_broken_rule_ends_the_connection(what: str) -> None:
    """With GOAWAY and the code of the RFC; nothing is heard after it."""
    data, code = FATAL[what]
    engine = in_every_state()
    events = engine.receive(data, 0.0)
    assert kinds(events) == [(FAILED, 0)]
    assert failure(engine) == code
    assert engine.receive(head(9), 0.0) == []
    assert engine.take() == b""


def test_resets_count_in_a_read_that_breaks_a_rule() -> None:
    """Nothing else does, and nobody else would tell of streams that are no more."""
    engine = in_every_state()
    events = engine.receive(
        head(9) + frame(frames.RST_STREAM, 0, 1, number(8)) + frame(frames.PING, 0, 1),
        0.0,
    )
    assert kinds(events) == [(RESET, 1), (FAILED, 0)]


def test_an_answer_counts_before_a_broken_rule() -> None:
    """It had come, and its stream is no more."""
    engine = client()
    stream = engine.open(block(), end=True)
    answer = frame(frames.HEADERS, 5, 1, b"\x88")
    events = engine.receive(
        frame(frames.SETTINGS) + answer + frame(frames.PING, 0, 1), 0.0
    )
    assert kinds(events) == [(RESPONSE, 1), (END, 1), (FAILED, 0)]
    assert stream.id not in engine.streams


@pytest.mark.parametrize("what", FATAL)
def test_a_broken_rule_in_what_is_lent_does_as_well(what: str) -> None:
    """The same code, however much was read at once."""
    data, code = FATAL[what]
    engine = in_every_state()
    assert kinds(engine.receive(memoryview(data), 0.0)) == [(FAILED, 0)]
    assert failure(engine) == code


@pytest.mark.parametrize("what", FATAL)
def test_how_the_bytes_are_cut_changes_nothing(what: str) -> None:
    """One octet at a time leads to the same end."""
    data, code = FATAL[what]
    engine = in_every_state()
    for octet in data:
        engine.receive(bytes([octet]), 0.0)
    assert failure(engine) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n", 1),
        (frames.PREFACE + head(1), 1),
        (frames.PREFACE + frames.SETTINGS_ACK, 1),
    ],
)
def test_a_client_that_does_not_greet_is_sent_away(data: bytes, code: int) -> None:
    """The preface, then SETTINGS."""
    engine = server(greeted=False)
    engine.receive(data, 0.0)
    assert failure(engine) == code


def test_the_greeting_may_come_in_pieces() -> None:
    """The preface octet by octet."""
    engine = server(greeted=False)
    for octet in frames.PREFACE + frame(frames.SETTINGS):
        assert engine.receive(bytes([octet]), 0.0) == []
    assert engine.greeted
    first, ack = split(engine.take())
    assert first.kind == frames.SETTINGS
    told = {3: 128, 4: 65536, 6: 65536}
    assert first.body == b"".join(frames.SETTING.pack(*one) for one in told.items())
    assert ack == (frames.SETTINGS, 1, 0, b"")


def test_a_request_its_body_and_its_trailers_are_events() -> None:
    """In order; the body once for all that came in one read."""
    engine = server()
    events = engine.receive(
        head(1, POST, end=False)
        + frame(DATA, 0, 1, b"a" * 100)
        + frame(DATA, 8, 1, b"\3" + b"b" * 100 + b"\0\0\0")
        + head(1, (("x-sum", "1"),)),
        0.0,
    )
    assert kinds(events) == [(REQUEST, 1), (BODY, 1), (END, 1)]
    fields = events[0][2]
    assert [(n.decode(), v.decode()) for n, v in fields.pseudo] == list(POST)
    assert fields.rest.fields == []
    assert events[2][2] == [(b"x-sum", b"1")]
    stream = engine.streams[1]
    assert engine.take_body(stream) == b"a" * 100 + b"b" * 100
    assert not stream.receiving
    assert stream.sending


def test_a_request_whose_body_is_one_frame_is_one_event() -> None:
    """The windows count it; what is no such frame is for the general way."""
    engine = server()
    engine.receive_window = 200
    events = engine.receive(
        head(1, POST, end=False)
        + frame(DATA, 1, 1, b"a" * 100)
        + head(3, POST, end=False)
        + frame(DATA, 1, 3, b"a" * 100)
        + head(5, POST, end=False)
        + frame(DATA, 1, 5, b""),
        0.0,
    )
    assert kinds(events) == [(CALL, 1), (CALL, 3), (REQUEST, 5), (END, 5)]
    stream = engine.streams[1]
    assert not stream.receiving
    assert engine.take_body(stream) == b"a" * 100
    assert engine.receive_window == 0
    engine.credit(stream, 100)
    assert engine.held_bytes == 100


def test_requests_whose_heads_come_first_are_one_event_each() -> None:
    """As clients send several at once; nothing is whole whose end comes later."""
    engine = server()
    heads = b"".join([head(id_, POST, end=False) for id_ in (1, 3, 5)])
    bodies = frame(DATA, 1, 1, b"a" * 100) + frame(DATA, 1, 3, b"b" * 100)
    events = engine.receive(heads + bodies + frame(DATA, 0, 5, b"c" * 100), 0.0)
    assert kinds(events) == [(CALL, 1), (CALL, 3), (REQUEST, 5), (BODY, 5)]
    assert engine.take_body(engine.streams[3]) == b"b" * 100
    assert engine.streams[5].receiving


def test_a_body_that_comes_in_another_read_is_told_apart() -> None:
    """Its head was told already, whatever stands in its place now."""
    engine = server()
    assert kinds(engine.receive(head(1, POST, end=False), 0.0)) == [(REQUEST, 1)]
    more = head(3, POST, end=False) + frame(DATA, 1, 1, b"a" * 100)
    events = engine.receive(more, 0.0)
    assert kinds(events) == [(REQUEST, 3), (BODY, 1), (END, 1)]


def test_a_whole_request_is_held_to_the_window_of_the_connection() -> None:
    """A body that is larger ends the connection, as in pieces."""
    engine = server()
    engine.receive_window = 99
    data = head(1, POST, end=False) + frame(DATA, 1, 1, b"a" * 100)
    assert kinds(engine.receive(data, 0.0)) == [(FAILED, 0)]
    assert failure(engine) == frames.FLOW_CONTROL_ERROR


def test_a_whole_request_too_many_is_refused() -> None:
    """Its body counts as that of a stream which we have reset."""
    engine = server()
    for number_ in range(STREAMS_LIMIT):
        engine.receive(head(2 * number_ + 1, POST, end=False), 0.0)
    last = 2 * STREAMS_LIMIT + 1
    data = head(last, POST, end=False) + frame(DATA, 1, last, b"a" * 100)
    assert kinds(engine.receive(data, 0.0)) == []
    assert resets(engine) == [(last, frames.REFUSED_STREAM)]


def test_a_request_without_a_body_is_one_event() -> None:
    """With priority, padding and a block in three frames."""
    engine = server()
    body = block()
    data = (
        frame(HEADERS, 8 + 32 + 1, 1, b"\2" + number(0) + b"\x10" + body[:3] + b"\0\0")
        + frame(CONTINUATION, 0, 1, body[3:9])
        + frame(CONTINUATION, 4, 1, body[9:])
    )
    assert kinds(engine.receive(data[:30], 0.0)) == []
    assert engine.inside_block
    assert kinds(engine.receive(data[30:], 0.0)) == [(ENDED_REQUEST, 1)]
    assert not engine.inside_block


def test_what_is_cut_by_the_client_is_told() -> None:
    """RST_STREAM; what came of the body is given back to the connection."""
    engine = server()
    events = engine.receive(
        head(1, POST, end=False)
        + frame(DATA, 0, 1, b"a" * 16384) * 3
        + frame(frames.RST_STREAM, 0, 1, number(frames.CANCEL)),
        0.0,
    )
    assert kinds(events) == [(REQUEST, 1), (BODY, 1), (RESET, 1)]
    assert events[-1][2] == frames.CANCEL
    assert engine.streams == {}
    assert [one.stream for one in split(engine.take())] == [0]


def test_an_ended_stream_is_forgotten_when_both_sides_ended() -> None:
    """Whoever ends last."""
    engine = server()
    stream = opened(engine)
    engine.headers(stream, b"\x88", end=True)
    assert engine.streams == {1: stream}
    assert kinds(engine.receive(frame(DATA, 1, 1, b"abc"), 0.0)) == [
        (BODY, 1),
        (END, 1),
    ]
    assert engine.streams == {}
    assert engine.take_body(stream) == b"abc"
    engine.credit(stream, 3)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ((b"x" * 11,), 1),
        ((b"x" * 5, b"x" * 6), 1),
        ((b"x" * 9, None), 1),
        ((b"x" * 9, b"trailers"), 1),
    ],
)
def test_a_body_of_another_length_than_told_resets(
    sent: tuple[bytes | None, ...], code: int
) -> None:
    """More, less, or less before trailers (RFC 9113 section 8.1.1)."""
    engine = server()
    opened(engine).left_bytes = 10
    events: list[Event] = []
    for piece in sent:
        if piece is None:
            events = engine.receive(frame(DATA, 1, 1), 0.0)
        elif piece == b"trailers":
            events = engine.receive(head(1, (("x-a", "1"),)), 0.0)
        else:
            events = engine.receive(frame(DATA, 0, 1, piece), 0.0)
    assert kinds(events) == [(RESET, 1)]
    assert resets(engine) == [(1, code)]


def test_a_body_of_the_told_length_passes() -> None:
    """And trailers after it."""
    engine = server()
    opened(engine).left_bytes = 10
    engine.receive(frame(DATA, 0, 1, b"x" * 10), 0.0)
    assert kinds(engine.receive(head(1, (("x-a", "1"),)), 0.0)) == [(END, 1)]


@pytest.mark.parametrize(
    "fields", [((":path", "/"),), (("X-Upper", "1"),), (("x-a", "1"), (":status", "2"))]
)
def test_bad_trailers_reset(fields: tuple[tuple[str, str], ...]) -> None:
    """Pseudo-header fields, upper case."""
    engine = server()
    opened(engine)
    assert kinds(engine.receive(head(1, fields), 0.0)) == [(RESET, 1)]
    assert resets(engine) == [(1, frames.PROTOCOL_ERROR)]


def test_a_second_head_that_does_not_end_the_stream_resets() -> None:
    """RFC 9113 section 8.1."""
    engine = server()
    opened(engine)
    engine.receive(head(1, end=False), 0.0)
    assert resets(engine) == [(1, frames.PROTOCOL_ERROR)]


def test_data_after_the_end_resets() -> None:
    """Of a stream that we have not ended."""
    engine = in_every_state()
    assert kinds(engine.receive(frame(DATA, 0, 3, b"x"), 0.0)) == [(RESET, 3)]
    assert resets(engine) == [(3, frames.STREAM_CLOSED)]


def test_what_is_under_way_when_we_reset_is_ignored() -> None:
    """Data, heads, windows; the head is decoded all the same."""
    engine = server()
    engine.reset(opened(engine), frames.CANCEL)
    engine.reset(opened(engine, 3), frames.CANCEL)
    engine.take()
    late = (
        frame(DATA, 0, 1, b"x" * 100)
        + head(1, (("x-a", "1"),))
        + frame(frames.WINDOW_UPDATE, 0, 1, number(5))
        + frame(frames.RST_STREAM, 0, 1, number(0))
        + frame(frames.PRIORITY, 0, 1, number(0) + b"\1")
    )
    assert engine.receive(late, 0.0) == []
    assert engine.take() == b""
    # Not for ever.
    for stream_id in range(5, 5 + 2 * 600, 2):
        engine.reset(opened(engine, stream_id), frames.CANCEL)
    engine.receive(frame(DATA, 0, 1, b"x"), 0.0)
    assert failure(engine) == frames.STREAM_CLOSED


def test_windows_are_kept() -> None:
    """More than a stream's window resets it, more than the connection's ends all."""
    engine = server()
    opened(engine)
    engine.receive(frame(DATA, 0, 1, b"x" * 16384) * 3, 0.0)
    engine.streams[1].receive_window -= 16382
    assert kinds(engine.receive(frame(DATA, 0, 1, b"x"), 0.0)) == []
    engine.receive(frame(frames.RST_STREAM, 0, 1, number(0)), 0.0)
    opened(engine, 3)
    engine.streams[3].receive_window = 10
    engine.receive(frame(DATA, 0, 3, b"x" * 11), 0.0)
    assert resets(engine) == [(3, frames.FLOW_CONTROL_ERROR)]
    opened(engine, 5)
    engine.receive_window = 10
    engine.receive(frame(DATA, 0, 5, b"x" * 11), 0.0)
    assert failure(engine) == frames.FLOW_CONTROL_ERROR


def test_streams_over_the_limit_are_refused() -> None:
    """One more than 128; what belongs to it is ignored."""
    engine = server()
    for n in range(STREAMS_LIMIT):
        opened(engine, 2 * n + 1)
    engine.take()
    over = 2 * STREAMS_LIMIT + 1
    assert engine.receive(head(over, end=False) + frame(DATA, 1, over), 0.0) == []
    assert resets(engine) == [(over, frames.REFUSED_STREAM)]


def test_a_long_header_list_is_told_and_the_connection_goes_on() -> None:
    """Whoever asks is answered; the next request is right."""
    engine = server()
    long = (*GET, *((f"x-{n}", "a" * 1000) for n in range(70)))
    body = block(long)
    data = frame(HEADERS, 1, 1, body[:16384])
    pieces = [body[i : i + 16384] for i in range(16384, len(body), 16384)]
    # The block itself has to be small: more than 64 KiB of it ends the connection.
    assert len(body) > 65536
    for piece in pieces[:-1]:
        data += frame(CONTINUATION, 0, 1, piece)
    engine.receive(data + frame(CONTINUATION, 4, 1, pieces[-1]), 0.0)
    assert failure(engine) == frames.ENHANCE_YOUR_CALM

    engine = server()
    crumbs = block(GET) + b"\x10\1a\0" * 600
    events = engine.receive(frame(HEADERS, 5, 1, crumbs) + head(3), 0.0)
    assert kinds(events) == [(ENDED_REQUEST, 1), (ENDED_REQUEST, 3)]
    assert events[0][2] is None
    # As trailers they reset the stream.
    opened(engine, 5)
    engine.receive(frame(HEADERS, 5, 5, crumbs), 0.0)
    assert resets(engine) == [(5, frames.ENHANCE_YOUR_CALM)]
    opened(engine, 7)
    engine.receive(frame(HEADERS, 4, 7, crumbs), 0.0)
    assert resets(engine) == [(7, frames.PROTOCOL_ERROR)]
    # What was under way when the stream was reset changes nothing.
    assert engine.receive(frame(HEADERS, 5, 7, crumbs), 0.0) == []
    assert resets(engine) == []


def test_a_connection_takes_a_number_of_requests() -> None:
    """Then GOAWAY with the last one; what comes after it is not looked at."""
    engine = server(requests_limit=3)
    events = engine.receive(head(1) + head(3) + head(5) + head(7, end=False), 0.0)
    assert [stream for _, stream in kinds(events)] == [1, 3, 5]
    assert split(engine.take())[0] == (frames.GOAWAY, 0, 0, number(5) + number(0))
    assert engine.receive(frame(DATA, 1, 7, b"x"), 0.0) == []
    for stream in list(engine.streams.values()):
        engine.headers(stream, b"\x88", end=True)
    assert not engine.failed
    assert engine.leaving
    assert not engine.streams


@pytest.mark.parametrize(
    ("data", "cost"),
    [
        (frame(DATA, 0, 1), budget.EMPTY_DATA),
        (frame(DATA, 0, 1, b"x"), budget.SMALL_DATA),
        (frame(99, 0, 0, b"?"), budget.USELESS),
        (frame(99, 0, 7, b"?"), budget.USELESS),
    ],
)
def test_cheap_frames_cost(data: bytes, cost: float) -> None:
    """Each its tokens."""
    engine = server()
    opened(engine)
    before = engine.budget.tokens
    engine.receive(data, 0.0)
    assert before - engine.budget.tokens == pytest.approx(cost)


def test_small_pieces_are_cheaper_where_they_are_usual() -> None:
    """A gRPC stream of small messages is no flood."""
    engine = server()
    engine.chats(opened(engine))
    before = engine.budget.tokens
    engine.receive(frame(DATA, 0, 1, b"\0\0\0\0\0"), 0.0)
    assert before - engine.budget.tokens == pytest.approx(budget.SMALL_DATA_CHATTY)


def test_without_tokens_the_connection_ends() -> None:
    """ENHANCE_YOUR_CALM; a stream error of ours counts, too (CVE-2025-8671)."""
    engine = server()
    stream = 1
    while not engine.failed:
        assert stream < 4000
        engine.receive(
            head(stream) + frame(frames.WINDOW_UPDATE, 0, stream, number(0)), 0.0
        )
        stream += 2
    assert failure(engine) == frames.ENHANCE_YOUR_CALM
    assert 600 < stream < 1200


# As a client.


def asked(engine: Engine, *, end: bool = True) -> int:
    return engine.open(b"\x82", end=end).id


def test_a_client_greets_and_asks() -> None:
    """Preface, SETTINGS without push, requests with odd numbers."""
    engine = Engine(client=True, now_s=0.0)
    assert asked(engine) == 1
    assert asked(engine, end=False) == 3
    data = engine.take()
    assert data.startswith(frames.PREFACE)
    greeting, first, second = split(data)
    told = b"\0\2\0\0\0\0" + b"\0\4" + number(65536)
    assert greeting == (frames.SETTINGS, 0, 0, told)
    assert (first.stream, first.flags, second.stream, second.flags) == (1, 5, 3, 4)


def test_an_answer_with_all_its_parts() -> None:
    """Interim heads, the head, the body, the trailers; credit for the connection."""
    engine = client()
    asked(engine)
    events = engine.receive(
        head(1, ((":status", "103"),), end=False)
        + head(1, ((":status", "200"),), end=False)
        + frame(DATA, 0, 1, b"x" * 16384) * 2
        + head(1, (("grpc-status", "0"),)),
        0.0,
    )
    assert kinds(events) == [(INTERIM, 1), (RESPONSE, 1), (BODY, 1), (END, 1)]
    assert events[-1][2] == [(b"grpc-status", b"0")]
    assert engine.streams == {}
    # The connection's window is whole again although nobody took the body.
    engine.receive(b"", 0.0)
    asked(engine)
    engine.receive(
        head(3, ((":status", "200"),), end=False) + frame(DATA, 0, 3, b"x" * 16384) * 2,
        0.0,
    )
    assert frames.WINDOW_UPDATE in [one.kind for one in split(engine.take())]
    assert engine.receive_window >= 65535


def test_an_answer_before_the_end_of_its_request_is_whole() -> None:
    """The rest of the body is not wanted: RST_STREAM behind the end takes nothing."""
    engine = client()
    stream = engine.open(block(POST), end=False)
    whole = (
        frame(frames.HEADERS, 4, 1, block(((":status", "200"),)))
        + frame(frames.DATA, 1, 1, b"early")
        + frame(frames.RST_STREAM, 0, 1, number(frames.NO_ERROR))
    )
    events = engine.receive(whole, 0.0)
    assert kinds(events) == [(RESPONSE, 1), (BODY, 1), (END, 1)]
    assert engine.take_body(stream) == b"early"
    assert not engine.streams
    assert not stream.sending


def test_an_answer_may_be_a_head_alone() -> None:
    """Trailers-only."""
    engine = client()
    asked(engine, end=False)
    events = engine.receive(head(1, ((":status", "200"),)), 0.0)
    assert kinds(events) == [(RESPONSE, 1), (END, 1)]
    assert not engine.streams[1].receiving


@pytest.mark.parametrize(
    "data",
    [
        head(1, (("x-a", "1"),)),
        head(1, ()),
        head(1, ((":status", "abc"),)),
        head(1, ((":status", "20"),)),
        head(1, ((":status", "100"),)),
        frame(HEADERS, 5, 1, block(((":status", "200"),)) + b"\x10\1a\0" * 600),
        head(1, ((":status", "200"),), end=False) + head(1, (), end=False),
        head(1, ((":status", "200"),)) + head(1, (("x-a", "1"),)),
        head(1, ((":status", "200"),)) + frame(DATA, 0, 1, b"x"),
        frame(DATA, 0, 1, b"x"),
    ],
)
def test_a_bad_answer_resets_its_stream(data: bytes) -> None:
    """And no other one."""
    engine = client()
    asked(engine, end=False)
    asked(engine, end=False)
    assert (RESET, 1) in kinds(engine.receive(data, 0.0))
    assert [stream for stream, _ in resets(engine)] == [1]
    assert list(engine.streams) == [3]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (head(3, ((":status", "200"),)), 1),
        (head(2, ((":status", "200"),)), 1),
        (frame(frames.PUSH_PROMISE, 4, 1, number(2)), 1),
    ],
)
def test_a_server_that_breaks_the_rules_is_left(data: bytes, code: int) -> None:
    """Streams that we have not opened; pushes."""
    engine = client()
    asked(engine)
    engine.receive(data, 0.0)
    assert failure(engine) == code


def test_late_answers_are_ignored() -> None:
    """Of a stream that we have reset."""
    engine = client()
    asked(engine)
    engine.reset(engine.streams[1], frames.CANCEL)
    late = head(1, ((":status", "200"),), end=False) + frame(DATA, 1, 1, b"x")
    assert engine.receive(late, 0.0) == []
    assert not engine.failed


def test_blocks_are_decoded_as_hpack_wants() -> None:
    """The support of these tests is right."""
    assert decode(block(GET)) == list(GET)
