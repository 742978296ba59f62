"""What is written: frames of bodies, credit, windows that grow."""

from __future__ import annotations

from itertools import chain, permutations, product

import pytest

from haloy.proxy.http2 import frames, sender
from haloy.proxy.http2.budget import BURST
from tests.proxy.http2.support import client, frame, number, opened, server, split

DATA = frames.DATA


def test_what_is_written_waits_until_it_is_taken() -> None:
    """All in one piece; the count is that of the bytes."""
    engine = server()
    stream = opened(engine, end=True)
    engine.headers(stream, b"\x88", end=False)
    engine.data(stream, b"abc", end=True)
    queued = engine.queued_bytes
    data = engine.take()
    assert len(data) == queued
    assert engine.queued_bytes == 0
    assert split(data) == [(1, 4, 1, b"\x88"), (DATA, 1, 1, b"abc")]
    assert engine.take() == b""
    assert engine.streams == {}


def test_large_pieces_become_frames_of_16_kib() -> None:
    """Only the last one ends the stream, if it does."""
    engine = server()
    first, second = opened(engine), opened(engine, 3)
    engine.send_window = 1 << 20
    engine.data(first, b"x" * 40000, end=True)
    engine.data(second, b"x" * 32768, end=False)
    queued = engine.queued_bytes
    data = engine.take()
    assert len(data) == queued
    assert [(one.flags, len(one.body)) for one in split(data)] == [
        (0, 16384),
        (0, 16384),
        (1, 7232),
        (0, 16384),
        (0, 16384),
    ]
    assert engine.room(second) == 32767


def test_sending_earns_tokens_unless_the_window_made_it_small() -> None:
    """A peer that opens a window octet by octet gets nothing back."""
    engine = server()
    stream = opened(engine)
    engine.budget.tokens = 0.0
    engine.data(stream, b"x" * 16384, end=False)
    assert 0.5 < engine.budget.tokens < 1.0
    engine.budget.tokens = 0.0
    stream.send_window = 1
    engine.data(stream, b"x", end=False)
    assert engine.budget.tokens < 0.001
    engine.budget.tokens = BURST
    stream.send_window = 100
    engine.data(stream, b"", end=True)
    assert engine.budget.tokens == BURST


def test_a_reset_is_written_once() -> None:
    """And not for a stream that has ended."""
    engine = server()
    stream = opened(engine)
    engine.reset(stream, frames.CANCEL)
    engine.reset(stream, frames.CANCEL)
    assert split(engine.take()) == [(frames.RST_STREAM, 0, 1, number(8))]


def test_credit_is_given_when_half_was_taken() -> None:
    """And both windows become twice as large, up to their limits."""
    engine = server()
    stream = opened(engine)
    engine.credit(stream, 30000)
    assert engine.take() == b""
    engine.credit(stream, 3000)
    assert split(engine.take()) == [
        (frames.WINDOW_UPDATE, 0, 0, number(33000 + 65535)),
        (frames.WINDOW_UPDATE, 0, 1, number(33000 + 65536)),
    ]
    for _ in range(100):
        engine.credit(stream, 65535)
    assert stream.window_bytes == sender.STREAM_WINDOW_BYTES
    assert engine._window_bytes == sender.CONNECTION_WINDOW_BYTES


def test_windows_do_not_grow_when_memory_is_short() -> None:
    """Credit is given all the same."""
    engine = server()
    stream = opened(engine)
    engine.may_grow = False
    engine.credit(stream, 40000)
    assert [one.body for one in split(engine.take())] == [number(40000)] * 2


def test_streams_that_grew_leave_room_for_others() -> None:
    """Half of the connection's window at most; what has ended gives its part back."""
    engine = server()
    streams = [opened(engine, 2 * n + 1) for n in range(10)]
    for stream in streams:
        for _ in range(5):
            engine.credit(stream, 100000)
    grown = sum(stream.grown_bytes for stream in streams)
    assert grown <= sender.CONNECTION_WINDOW_BYTES // 2
    assert streams[-1].window_bytes == 65536
    for stream in streams[:5]:
        engine.reset(stream, 0)
    for _ in range(5):
        engine.credit(streams[-1], 100000)
    assert streams[-1].window_bytes == sender.STREAM_WINDOW_BYTES


def test_a_body_that_nobody_takes_holds_up_its_stream_only() -> None:
    """The connection's window is given back when the bytes come, once."""
    engine = server()
    stream = opened(engine)
    engine.receive(frame(DATA, 0, 1, b"x" * 16384) * 2, 0.0)
    assert [one.stream for one in split(engine.take())] == [0]
    assert engine.held_bytes == 32768
    engine.credit(stream, 32768)
    assert [one.stream for one in split(engine.take())] == [1]
    assert engine.held_bytes == 0
    assert stream.advanced_bytes == 0


def test_a_body_that_nobody_takes_holds_up_all_when_memory_is_short() -> None:
    """What came before is not given back a second time."""
    engine = server()
    stream = opened(engine)
    engine.receive(frame(DATA, 0, 1, b"x" * 16000), 0.0)
    engine.may_grow = False
    engine.receive(frame(DATA, 0, 1, b"x" * 16384) * 2, 0.0)
    assert engine.take() == b""
    engine.credit(stream, 16000)
    assert engine.take() == b""
    engine.credit(stream, 32768)
    assert split(engine.take()) == [
        (frames.WINDOW_UPDATE, 0, 0, number(48768)),
        (frames.WINDOW_UPDATE, 0, 1, number(48768)),
    ]


def test_a_client_gives_credit_for_streams_only() -> None:
    """The connection's was given when the bytes came: others are not held up."""
    engine = client()
    stream = engine.open(b"\x82", end=True)
    stream.answered = True
    engine.take()
    for _ in range(9):
        size = stream.receive_window // 2
        pieces = [frame(DATA, 0, 1, b"x" * 16000)] * (size // 16000 + 1)
        engine.receive(b"".join(pieces), 0.0)
        engine.take()
        engine.credit(stream, len(pieces) * 16000)
        assert [one.stream for one in split(engine.take())] == [1]
    assert stream.window_bytes == sender.STREAM_WINDOW_BYTES


def test_what_nobody_took_of_a_stream_goes_back_to_the_connection() -> None:
    """A reset stream keeps nothing of the window."""
    engine = server()
    engine.may_grow = False
    stream = opened(engine)
    engine.receive(frame(DATA, 0, 1, b"x" * 16384) * 3, 0.0)
    engine.take()
    engine.reset(stream, 0)
    assert engine.held_bytes == 0
    written = split(engine.take())
    assert [one.kind for one in written] == [frames.WINDOW_UPDATE, frames.RST_STREAM]
    assert stream.inbox == []


def test_a_whole_answer_is_written_at_once_if_it_fits() -> None:
    """Else nothing is sent: windows, a head too long, a table to be emptied."""
    engine = server()
    stream = opened(engine, end=True)
    assert engine.whole(stream, b"\x88", b"abc")
    assert engine.queued_bytes == 22
    assert split(engine.take()) == [
        (frames.HEADERS, frames.END_HEADERS, 1, b"\x88"),
        (frames.DATA, frames.END_STREAM, 1, b"abc"),
    ]
    assert engine.send_window == frames.DEFAULT_WINDOW - 3
    assert not engine.streams
    other = opened(engine, 3, end=True)
    assert not engine.whole(other, b"\x88" * 16385, b"x")
    other.send_window = 3
    assert not engine.whole(other, b"\x88", b"abc")
    other.send_window = 4
    engine.send_window = 2
    assert not engine.whole(other, b"\x88", b"abc")
    engine.send_window = 3
    setting = frames.SETTING.pack(frames.HEADER_TABLE_SIZE, 0)
    engine.receive(frame(frames.SETTINGS, body=setting), 0.0)
    engine.take()
    assert not engine.whole(other, b"\x88", b"abc")
    assert engine.take() == b""


@pytest.mark.parametrize("size", [16384, 16385, 32768, 40000])
def test_a_large_whole_answer_is_some_frames(size: int) -> None:
    """The same as one in pieces, and counted as well."""
    payload = bytes(size)
    one, other = server(), server()
    first, second = opened(one, end=True), opened(other, end=True)
    assert one.whole(first, b"\x88", payload)
    other.headers(second, b"\x88", end=False)
    other.data(second, payload, end=True)
    assert one.queued_bytes == other.queued_bytes
    assert one.send_window == other.send_window
    written = one.take()
    assert written == other.take()
    assert len(written) == 10 + size + 9 * len(split(written)[1:])
    assert split(written)[-1].flags == frames.END_STREAM


@pytest.mark.parametrize("size", [0, 1, 16384, 16385])
@pytest.mark.parametrize("trailers", [b"", b"\x8d"])
def test_a_whole_answer_may_have_trailers_or_no_body(
    size: int, trailers: bytes
) -> None:
    """The same as one in pieces, and counted as well."""
    payload = bytes(size)
    one, other = server(), server()
    first, second = opened(one, end=True), opened(other, end=True)
    assert one.whole(first, b"\x88", payload, trailers)
    other.headers(second, b"\x88", end=not size and not trailers)
    if size:
        other.data(second, payload, end=not trailers)
    if trailers:
        other.headers(second, trailers, end=True)
    assert one.queued_bytes == other.queued_bytes
    assert one.send_window == other.send_window
    assert one.take() == other.take()
    assert not one.streams


def test_whole_answers_one_after_the_other_are_what_they_would_be_alone() -> None:
    """Whichever part is as large as before, and whichever is not."""
    engine = server()
    parts = (b"\x88", b"\x88\x88"), (b"a", b"bc"), (b"", b"\x8d", b"\x8d\x8d")
    shapes = chain.from_iterable(permutations(product(*parts), 2))
    for count, shape in enumerate(shapes):
        stream = opened(engine, 2 * count + 1, end=True)
        assert engine.whole(stream, *shape)
        alone = server()
        other = opened(alone, 2 * count + 1, end=True)
        assert alone.whole(other, *shape)
        assert engine.queued_bytes == alone.queued_bytes
        assert engine.take() == alone.take()


def test_trailers_too_long_for_a_frame_are_not_sent_at_once() -> None:
    """They need a CONTINUATION."""
    engine = server()
    stream = opened(engine, end=True)
    assert not engine.whole(stream, b"\x88", b"x", b"\x88" * 16385)
    assert engine.take() == b""


def test_a_body_fits_as_the_peer_has_told() -> None:
    """The window of a new stream, and what is left of the connection's."""
    engine = client()
    assert engine.fits(frames.DEFAULT_WINDOW)
    assert not engine.fits(frames.DEFAULT_WINDOW + 1)
    setting = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 100)
    engine.receive(frame(frames.SETTINGS, body=setting), 0.0)
    assert engine.fits(100)
    assert not engine.fits(101)
    engine.send_window = 7
    assert engine.fits(7)
    assert not engine.fits(8)


@pytest.mark.parametrize("size", [0, 8, 100])
@pytest.mark.parametrize("emptied", [False, True])
def test_a_whole_request_is_asked_at_once(size: int, emptied: bool) -> None:
    """It may fill the window, and come after a word about the table."""
    engine = client()
    setting = frames.SETTING.pack(frames.INITIAL_WINDOW_SIZE, 100)
    if emptied:
        setting += frames.SETTING.pack(frames.HEADER_TABLE_SIZE, 0)
    engine.receive(frame(frames.SETTINGS, body=setting), 0.0)
    engine.take()
    stream = engine.ask(b"\x83", b"x" * size)
    assert engine.streams == {1: stream}
    assert engine.requests == 1
    assert stream.receiving
    assert not stream.sending
    assert stream.send_window == 100 - size
    head, *bodies = split(engine.take())
    assert head.body == b"\x20" * emptied + b"\x83"
    assert b"".join([one.body for one in bodies]) == b"x" * size
    assert [one.flags & frames.END_STREAM for one in (head, *bodies)][-1]
    assert engine.ask(b"\x83", b"").id == 3
