"""Tokens: what they pay for, and when they come back."""

from __future__ import annotations

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.budget import BURST, Budget
from haloy.proxy.http2.engine import Engine
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
    stream.small_price = budget.SMALL_DATA_CHATTY
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
    opened(engine).small_price = budget.SMALL_DATA_CHATTY
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
        stream.small_price = budget.SMALL_DATA_CHATTY
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
