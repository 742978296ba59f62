"""Frames of the connection: settings, pings, windows, resets, the goodbye."""

from __future__ import annotations

import pytest

from haloy.proxy.http2 import budget, frames
from haloy.proxy.http2.control import LEAVING, RESET, ROOM
from tests.proxy.http2.support import (
    client,
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

SETTINGS, PING, GOAWAY = frames.SETTINGS, frames.PING, frames.GOAWAY
WINDOW_UPDATE, RST_STREAM = frames.WINDOW_UPDATE, frames.RST_STREAM
PRIORITY = frames.PRIORITY
CANCEL = number(frames.CANCEL)


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, frames.SETTING.pack(name, value))


# Stream 1 is open, 3 has never been.
FATAL = {
    "SETTINGS on a stream": (frame(SETTINGS, 0, 1), 1),
    "SETTINGS of no whole pairs": (frame(SETTINGS, 0, 0, b"12345"), 6),
    "an acknowledgement with a body": (frame(SETTINGS, 1, 0, b"123456"), 6),
    "ENABLE_PUSH of 2": (setting(2, 2), 1),
    "a window of 2^31": (setting(4, 1 << 31), 3),
    "a frame size below 2^14": (setting(5, 16383), 1),
    "a frame size of 2^24": (setting(5, 1 << 24), 1),
    "PING on a stream": (frame(PING, 0, 1, b"12345678"), 1),
    "PING of 7": (frame(PING, 0, 0, b"1234567"), 6),
    "GOAWAY on a stream": (frame(GOAWAY, 0, 1, bytes(8)), 1),
    "GOAWAY of 7": (frame(GOAWAY, 0, 0, bytes(7)), 6),
    "WINDOW_UPDATE of 3": (frame(WINDOW_UPDATE, 0, 1, bytes(3)), 6),
    "WINDOW_UPDATE of nothing": (frame(WINDOW_UPDATE, 0, 0, number(0)), 1),
    "WINDOW_UPDATE on an idle stream": (frame(WINDOW_UPDATE, 0, 3, number(1)), 1),
    "a connection's window of 2^31": (
        frame(WINDOW_UPDATE, 0, 0, number(0x7FFFFFFF)),
        3,
    ),
    "windows moved beyond 2^31": (
        frame(WINDOW_UPDATE, 0, 1, number(0x7FFF0000)) + setting(4, 0x7FFFFFFF),
        3,
    ),
    "RST_STREAM on stream 0": (frame(RST_STREAM, 0, 0, CANCEL), 1),
    "RST_STREAM of 3": (frame(RST_STREAM, 0, 1, bytes(3)), 6),
    "RST_STREAM on an idle stream": (frame(RST_STREAM, 0, 3, CANCEL), 1),
    "PRIORITY on stream 0": (frame(PRIORITY, 0, 0, bytes(5)), 1),
    "PRIORITY of 4 on an idle stream": (frame(PRIORITY, 0, 3, bytes(4)), 6),
    "PRIORITY on itself": (frame(PRIORITY, 0, 3, number(3) + b"\0"), 1),
}


@pytest.mark.parametrize("what", FATAL)
def test_a_broken_rule_ends_the_connection(what: str) -> None:
    """With GOAWAY and the code of the RFC."""
    data, code = FATAL[what]
    engine = server()
    opened(engine)
    engine.receive(data, 0.0)
    assert failure(engine) == code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(WINDOW_UPDATE, 0, 1, number(0)), frames.PROTOCOL_ERROR),
        (frame(WINDOW_UPDATE, 0, 1, number(0x7FFFFFFF)), frames.FLOW_CONTROL_ERROR),
        (frame(PRIORITY, 0, 1, bytes(4)), frames.FRAME_SIZE_ERROR),
    ],
)
def test_a_broken_rule_of_a_stream_resets_it(data: bytes, code: int) -> None:
    """And the connection goes on."""
    engine = server()
    opened(engine)
    assert kinds(engine.receive(data, 0.0)) == [(RESET, 1)]
    assert resets(engine) == [(1, code)]


def test_settings_are_taken_and_acknowledged() -> None:
    """Those that matter to us; unknown ones are ignored."""
    engine = server()
    data = b"".join(
        frames.SETTING.pack(*pair)
        for pair in ((2, 0), (3, 7), (4, 100), (5, 65536), (6, 10), (99, 1), (1, 4096))
    )
    stream = opened(engine)
    assert engine.receive(frame(SETTINGS, 0, 0, data), 0.0) == []
    assert engine.take() == frames.SETTINGS_ACK
    assert engine.peer_streams == 7
    assert stream.send_window == 100
    assert (engine.agreed,) == (False,)
    engine.receive(frames.SETTINGS_ACK, 0.0)
    assert engine.agreed
    before = engine.budget.tokens
    engine.receive(frames.SETTINGS_ACK, 0.0)
    assert engine.budget.tokens == before - budget.USELESS


def test_a_larger_window_makes_room_a_smaller_one_does_not() -> None:
    """A window may even be below zero (RFC 9113 section 6.9.2)."""
    engine = server()
    stream = opened(engine)
    engine.data(stream, b"x" * 1000, end=False)
    assert engine.receive(setting(4, 10), 0.0) == []
    assert engine.room(stream) == 10 - 1000
    assert kinds(engine.receive(setting(4, 2000), 0.0)) == [(ROOM, 0)]
    assert engine.room(stream) == 1000


def test_a_smaller_table_is_confirmed_once() -> None:
    """The first block after it begins with a size (RFC 7541 section 4.2)."""
    engine = server()
    first, second = opened(engine), opened(engine, 3)
    engine.receive(setting(1, 0), 0.0)
    engine.take()
    engine.headers(first, b"\x88", end=True)
    engine.headers(second, b"\x88", end=True)
    assert [one.body for one in split(engine.take())] == [b"\x20\x88", b"\x88"]


def test_room_is_told() -> None:
    """For one stream, and for all."""
    engine = server()
    opened(engine)
    data = frame(WINDOW_UPDATE, 0, 1, number(5)) + frame(WINDOW_UPDATE, 0, 0, number(5))
    assert kinds(engine.receive(data, 0.0)) == [(ROOM, 1), (ROOM, 0)]


def test_pings_are_answered() -> None:
    """Unless they are answers: nobody asked."""
    engine = server()
    engine.receive(frame(PING, 0, 0, b"12345678") + frame(PING, 1, 0, b"xxxxxxxx"), 0.0)
    assert split(engine.take()) == [(PING, 1, 0, b"12345678")]


def test_a_graceful_end_has_two_steps() -> None:
    """What is on its way meanwhile is served; what comes later is not looked at."""
    engine = server()
    opened(engine)
    engine.shut_down()
    engine.shut_down()
    goodbye, ping = split(engine.take())
    assert goodbye.body == number(0x7FFFFFFF) + number(0)
    assert (engine.leaving,) == (False,)
    assert len(engine.receive(head(3), 0.0)) == 1
    engine.receive(frame(PING, 1, 0, ping.body), 0.0)
    assert engine.leaving
    assert split(engine.take())[0].body == number(3) + number(0)
    assert engine.receive(head(5, end=False) + frame(0, 1, 5, b"x"), 0.0) == []
    engine.shut_down(now=True)
    assert engine.take() == b""
    assert sorted(engine.streams) == [1, 3]


def test_a_failed_connection_says_no_goodbye() -> None:
    """It has said all there is."""
    engine = server()
    engine.receive(frame(PING, 0, 1, b""), 0.0)
    engine.take()
    engine.shut_down()
    assert engine.take() == b""


def test_a_client_that_leaves_opens_nothing_more() -> None:
    """Its streams go on."""
    engine = server()
    opened(engine)
    events = engine.receive(frame(GOAWAY, 0, 0, bytes(8)) + head(3), 0.0)
    assert kinds(events) == [(LEAVING, 0)]
    assert list(engine.streams) == [1]


def test_a_server_that_leaves_has_not_seen_the_last_requests() -> None:
    """They may be sent elsewhere."""
    engine = client()
    for _ in range(3):
        engine.open(b"\x82", end=True)
    events = engine.receive(frame(GOAWAY, 0, 0, number(1) + number(0)), 0.0)
    assert kinds(events) == [(RESET, 3), (RESET, 5), (LEAVING, 0)]
    assert {code for _, _, code in events[:2]} == {frames.REFUSED_STREAM}
    assert engine.leaving


def test_a_reset_of_a_closed_stream_changes_nothing() -> None:
    """It costs a token."""
    engine = server()
    engine.headers(opened(engine, end=True), b"\x88", end=True)
    engine.take()
    assert engine.receive(frame(RST_STREAM, 0, 1, CANCEL), 0.0) == []
    assert engine.receive(frame(WINDOW_UPDATE, 0, 1, number(5)), 0.0) == []
    assert engine.receive(frame(PRIORITY, 0, 9, bytes(5)), 0.0) == []
    assert not engine.failed


FLOODS = {
    "PING": frame(PING, 0, 0, b"12345678"),
    "PING answers": frame(PING, 1, 0, b"12345678"),
    "SETTINGS": frame(SETTINGS),
    "SETTINGS answers": frames.SETTINGS_ACK,
    "SETTINGS that move windows": setting(4, 0) + setting(4, 65535),
    "GOAWAY": frame(GOAWAY, 0, 0, bytes(8)),
    "PRIORITY": frame(PRIORITY, 0, 9, bytes(5)),
    "WINDOW_UPDATE": frame(WINDOW_UPDATE, 0, 0, number(1)),
    "WINDOW_UPDATE of a stream": frame(WINDOW_UPDATE, 0, 1, number(1)),
    "RST_STREAM": frame(RST_STREAM, 0, 5, CANCEL),
    "empty DATA": frame(frames.DATA, 0, 1),
    "unknown frames": frame(77),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_ends_the_connection(what: str) -> None:
    """Before the ten-thousand-and-first frame; with ENHANCE_YOUR_CALM."""
    engine = server()
    opened(engine)
    opened(engine, 5)
    for _ in range(101):
        engine.receive(FLOODS[what] * 100, 0.0)
    assert failure(engine) == frames.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("what", FLOODS)
def test_the_same_frames_now_and_then_do_not(what: str) -> None:
    """Some each second for a day."""
    engine = server()
    opened(engine)
    opened(engine, 5)
    for second in range(0, 86400, 15):
        engine.receive(FLOODS[what] * 5, float(second))
        engine.take()
    assert not engine.failed
