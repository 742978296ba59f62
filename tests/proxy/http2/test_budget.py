"""Tokens: what they pay for, and when they come back."""

from __future__ import annotations

import pytest

from haloy.proxy.http2 import frames
from haloy.proxy.http2.budget import BURST, Budget
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.stream_state import Stream
from tests.proxy.http2.support import client, frame, head, number, opened, server


def test_a_burst_is_taken_and_more_is_not() -> None:
    """A thousand tokens, then no more."""
    budget = Budget(0.0)
    assert all(budget.spend(1.0, 0.0) for _ in range(1000))
    assert not budget.spend(1.0, 0.0)


def test_tokens_come_back_with_time() -> None:
    """Thirty-three a second, never more than the burst."""
    budget = Budget(0.0)
    budget.spend(BURST, 0.0)
    assert budget.spend(30.0, 1.0)
    assert not budget.spend(30.0, 1.1)
    assert budget.spend(30.0, 10000.0)
    assert budget.tokens <= BURST


def test_tokens_are_earned() -> None:
    """What the client takes of us gives some back, up to the burst."""
    budget = Budget(0.0)
    budget.spend(10.0, 0.0)
    budget.earn(4.0)
    assert budget.tokens == BURST - 6.0
    budget.earn(100.0)
    assert budget.tokens == BURST


def test_a_day_of_events_is_no_flood() -> None:
    """Small ones every five seconds, windows opened for each, pings between."""
    engine = server()
    stream = opened(engine, end=True)
    engine.headers(stream, b"\x88", end=False)
    ping = frame(frames.PING, 0, 0, b"12345678")
    opening = b"".join(frame(frames.WINDOW_UPDATE, 0, n, number(40)) for n in (0, 1))
    for now_s in range(5, 86400, 5):
        engine.data(stream, b"data: 0123456789 0123456789 0123456789\n\n", end=False)
        engine.take()
        engine.receive(opening if now_s % 15 else opening + ping, float(now_s))
        assert not engine.failed
    assert engine.budget.tokens > BURST / 2


def test_a_gibibyte_down_is_no_flood() -> None:
    """Windows opened and pings sent as grpcio does; in no time at all."""
    engine = server()
    stream = opened(engine, end=True)
    engine.chats(stream)
    engine.headers(stream, b"\x88", end=False)
    piece = bytes(16384)
    ping = frame(frames.PING, 0, 0, b"12345678")
    opening = b"".join(frame(frames.WINDOW_UPDATE, 0, n, number(32768)) for n in (0, 1))
    for count in range(65536 // 2):
        assert engine.room(stream) >= 32768
        for _ in range(2):
            engine.data(stream, piece, end=False)
        engine.take()
        engine.receive(opening if count % 16 else opening + ping, 0.0)
    assert not engine.failed
    assert engine.budget.tokens > BURST / 2


def test_a_gibibyte_up_is_no_flood() -> None:
    """Whether the peer is a client or an app, which pings while it sends."""
    sent = frame(frames.DATA, 0, 1, bytes(16384)) * 2
    ping = frame(frames.PING, 0, 0, b"12345678")
    receiving = server()
    stream = opened(receiving)
    asking = client()
    answered = asking.open(b"\x82", end=True)
    asking.receive(head(1, ((":status", "200"),), end=False), 0.0)
    for engine, one in ((receiving, stream), (asking, answered)):
        for count in range(65536 // 2):
            # A gibibyte in a minute.
            now_s = count / 32768 * 60
            engine.receive(sent if count % 64 else sent + ping, now_s)
            engine.credit(one, len(engine.take_body(one)))
            engine.take()
        assert not engine.failed
        assert engine.held_bytes == 0


def calling() -> tuple[Engine, Stream]:
    """Return an engine with a call of gRPC whose client talks."""
    engine = server()
    stream = opened(engine)
    engine.chats(stream)
    return engine, stream


def taken(engine: Engine, stream: Stream, sent: bytes, now_s: float) -> None:
    """Have C{sent} come, and the app take it."""
    engine.receive(sent, now_s)
    engine.credit(stream, len(engine.take_body(stream)))
    engine.take()


def test_octets_to_an_app_that_chats_are_a_flood() -> None:
    """Fifty thousand are too many, as to any other, although the app takes them."""
    engine, stream = calling()
    octets = frame(frames.DATA, 0, 1, b"x") * 1000
    for _ in range(49):
        taken(engine, stream, octets, 0.0)
    assert not engine.failed
    engine.receive(octets * 2, 0.0)
    assert engine.failed


def test_an_hour_of_small_messages_is_no_flood() -> None:
    """One in 5 ms, and a thousand at once in each second besides; no answer to them."""
    engine, stream = calling()
    words = frame(frames.DATA, 0, 1, MESSAGE) * 1200
    for second in range(3600):
        taken(engine, stream, words, float(second))
    assert not engine.failed


def test_ends_of_large_messages_are_no_flood() -> None:
    """Gibibytes in messages of two octets more than a frame, in no time at all."""
    engine, stream = calling()
    message = frame(frames.DATA, 0, 1, bytes(16384)) + frame(frames.DATA, 0, 1, b"xx")
    for _ in range(131072):
        taken(engine, stream, message, 0.0)
    assert not engine.failed
    assert engine.budget.tokens > BURST / 2


def test_messages_that_come_with_their_head_cost_no_more() -> None:
    """Before it is known for whom they are, they cost as much as to any app."""
    engine = server()
    words = frame(frames.DATA, 0, 1, MESSAGE) * 1000
    octets = frame(frames.DATA, 0, 1, b"x") * 1000
    before = engine.budget.tokens
    engine.receive(head(1, end=False) + words + octets, 0.0)
    assert engine.budget.tokens == pytest.approx(before - 40.0)
    for _ in range(2):
        engine.chats(engine.streams[1])
        assert engine.budget.tokens == pytest.approx(before - 22.0)


#: What grpc-go sends for every piece that it gets, as soon as the last one is answered.
MEASURED = (
    frame(frames.WINDOW_UPDATE, 0, 0, number(7))
    + frame(frames.WINDOW_UPDATE, 0, 1, number(7))
    + frame(frames.PING, 0, 0, b"12345678")
)
MESSAGE = b"\0\0\0\0\2hi"


def talked(engine: Engine, rounds: int) -> None:
    """Have a peer say and hear short words on stream 1, all within no time."""
    stream = engine.streams[1]
    word = frame(frames.DATA, 0, 1, MESSAGE)
    for _ in range(rounds):
        engine.receive(word, 0.0)
        engine.credit(stream, len(engine.take_body(stream)))
        engine.data(stream, MESSAGE, end=False)
        engine.receive(MEASURED, 0.0)
        engine.take()
    assert not engine.failed
    assert engine.budget.tokens > BURST / 2


def test_a_chat_of_grpc_go_is_no_flood() -> None:
    """Its clients and its servers ping at each word."""
    engine = server()
    engine.chats(opened(engine))
    engine.headers(engine.streams[1], b"\x88", end=False)
    talked(engine, 5_000)
    asking = client()
    asking.open(b"\x82", end=False)
    asking.receive(head(1, ((":status", "200"),), end=False), 0.0)
    talked(asking, 5_000)


def test_calls_of_grpc_go_are_no_flood() -> None:
    """One after the other, on one connection, each with its ping."""
    engine = server()
    for number_ in range(1, 10_001, 2):
        engine.receive(head(number_, end=False), 0.0)
        stream = engine.streams[number_]
        engine.chats(stream)
        engine.receive(frame(frames.DATA, 1, number_, MESSAGE), 0.0)
        engine.credit_all(stream, len(MESSAGE))
        assert engine.whole(stream, b"\x88", MESSAGE, b"\x88")
        engine.receive(MEASURED, 0.0)
        engine.take()
    assert not engine.failed
    assert engine.budget.tokens > BURST / 2


def test_much_that_an_app_was_asked_for_is_no_flood() -> None:
    """Short messages of one stream, a hundred thousand."""
    engine = client()
    stream = engine.open(b"\x82", end=True)
    engine.receive(head(1, ((":status", "200"),), end=False), 0.0)
    words = frame(frames.DATA, 0, 1, MESSAGE) * 1000
    for _ in range(100):
        engine.receive(words, 0.0)
        engine.credit(stream, len(engine.take_body(stream)))
        engine.take()
    assert not engine.failed


def test_calls_given_up_are_no_fault_of_the_app() -> None:
    """It answers, or resets, what was taken back a moment before, however many."""
    engine = client()
    asked = [engine.open(b"\x82", end=True) for _ in range(4000)]
    for stream in asked:
        engine.reset(stream, frames.CANCEL)
    for stream in asked:
        answer = head(stream.id, ((":status", "200"),), end=False)
        piece = frame(frames.DATA, 0, stream.id, bytes(1000))
        over = frame(frames.RST_STREAM, 0, stream.id, number(frames.CANCEL))
        engine.receive(answer + piece + over, stream.id / 1000)
    assert not engine.failed


#: More than is taken of fields, in a block of moderate length: 600 empty cookies.
LONG = b"\x0f\x11\0" * 600
RESET_FRAME = frame(frames.RST_STREAM, 0, 3, number(frames.CANCEL))


def window(size: int) -> bytes:
    """Return SETTINGS with the window of streams."""
    body = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, size)
    return frame(frames.SETTINGS, 0, 0, body)


def piece(size: int, stream: int = 3, flags: int = 0) -> bytes:
    """Return so much of a body."""
    return frame(frames.DATA, flags, stream, bytes(size))


# Stream 1 was answered, 3 and 5 are uploads, 7 was reset by us.
PRICES = {
    "PING": (frame(frames.PING, 0, 0, bytes(8)), 0.1),
    "an answer to no ping": (frame(frames.PING, 1, 0, bytes(8)), 0.5),
    "SETTINGS": (frame(frames.SETTINGS), 4.0),
    "SETTINGS for two streams": (window(65000), 4.1),
    "GOAWAY": (frame(frames.GOAWAY, 0, 0, bytes(8)), 0.5),
    "PRIORITY": (frame(frames.PRIORITY, 0, 9, bytes(5)), 0.5),
    "WINDOW_UPDATE": (frame(frames.WINDOW_UPDATE, 0, 3, number(1)), 0.1),
    "WINDOW_UPDATE too late": (frame(frames.WINDOW_UPDATE, 0, 1, number(1)), 0.2),
    "WINDOW_UPDATE of nothing": (frame(frames.WINDOW_UPDATE, 0, 3, number(0)), 2.1),
    "RST_STREAM": (RESET_FRAME, 1.0),
    "an unknown frame": (frame(77), 0.5),
    "empty DATA": (piece(0), 1.0),
    "small DATA": (piece(63), 0.02),
    "DATA that is not small": (piece(64), 0.0),
    "the end of a body": (piece(0, flags=1), 0.0),
    "DATA of gRPC": (piece(63, 5), 0.002),
    "DATA of gRPC with a message of nothing": (piece(5, 5), 0.002),
    "DATA of gRPC with no message": (piece(4, 5), 0.02),
    "empty DATA of gRPC": (piece(0, 5), 1.0),
    "DATA of a stream that we have reset": (piece(64, 7), 0.05),
    "a head of a stream that we have reset": (head(7), 0.5),
    "a request": (head(9), 0.0),
    "too many fields": (frame(frames.HEADERS, 5, 9, LONG), 50.0),
    "too many trailers": (frame(frames.HEADERS, 5, 3, LONG), 52.0),
    "too many fields too late": (frame(frames.HEADERS, 5, 7, LONG), 50.5),
}


@pytest.mark.parametrize("what", PRICES)
def test_prices(what: str) -> None:
    """What a frame costs, in tokens."""
    sent, price = PRICES[what]
    engine = server()
    engine.headers(opened(engine, 1, end=True), b"\x88", end=True)
    opened(engine, 3)
    engine.chats(opened(engine, 5))
    engine.reset(opened(engine, 7), frames.CANCEL)
    engine.budget.tokens = 500.0
    engine.receive(sent, 0.0)
    assert not engine.failed
    assert engine.budget.tokens == pytest.approx(500.0 - price)


@pytest.mark.parametrize(("leaving", "price"), [(False, 5.0), (True, 0.5)])
def test_the_price_of_a_request_that_is_not_taken(leaving: bool, price: float) -> None:
    """One too many at a time costs much; one after the goodbye may not know of it."""
    engine = server()
    for stream in range(1, 257, 2):
        opened(engine, stream)
    if leaving:
        engine.shut_down(now=True)
    engine.budget.tokens = 500.0
    assert engine.receive(head(257), 0.0) == []
    assert engine.budget.tokens == pytest.approx(500.0 - price)


def test_earnings() -> None:
    """What the client takes of us gives back, and a window that it keeps small less."""
    engine = server()
    engine.receive(window(5000), 0.0)
    engine.budget.tokens = 500.0
    stream = opened(engine, 1, end=True)
    engine.headers(stream, b"\x88", end=False)
    assert engine.budget.tokens == 500.0
    engine.data(stream, bytes(4096), end=False)
    assert engine.budget.tokens == pytest.approx(500.5)
    engine.data(stream, bytes(904), end=True)
    assert engine.budget.tokens == pytest.approx(500.5 + 1.0 + 904 * 0.1 / 4096)
    engine.budget.tokens = 500.0
    assert engine.whole(opened(engine, 3, end=True), b"\x88", bytes(4096))
    assert engine.budget.tokens == pytest.approx(501.5)
    engine.budget.tokens = 999.9
    assert engine.whole(opened(engine, 5, end=True), b"\x88", b"")
    assert engine.budget.tokens == BURST
