"""How frames are written."""

from __future__ import annotations

import pytest

from haloy.proxy.http2 import frames
from tests.proxy.http2.support import split


def test_small_frames_have_their_fields() -> None:
    """Each builder gives one frame of its kind."""
    data = (
        frames.settings((3, 128), (6, 65536))
        + frames.window_update(5, 7)
        + frames.rst_stream(3, frames.CANCEL)
        + frames.ping(b"12345678", frames.ACK)
        + frames.goaway(9, frames.ENHANCE_YOUR_CALM, "calm")
        + frames.SETTINGS_ACK
    )
    assert split(data) == [
        (frames.SETTINGS, 0, 0, b"\0\3\0\0\0\x80\0\6\0\1\0\0"),
        (frames.WINDOW_UPDATE, 0, 5, b"\0\0\0\7"),
        (frames.RST_STREAM, 0, 3, b"\0\0\0\x08"),
        (frames.PING, 1, 0, b"12345678"),
        (frames.GOAWAY, 0, 0, b"\0\0\0\x09\0\0\0\x0bcalm"),
        (frames.SETTINGS, 1, 0, b""),
    ]


@pytest.mark.parametrize("size", [0, 16384, 16385, 32768, 40000])
@pytest.mark.parametrize("end", [True, False])
def test_a_block_of_any_size_becomes_frames(size: int, end: bool) -> None:
    """The first frame ends the stream, the last one the block."""
    block = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    found = split(frames.headers(1, block, end=end))
    assert b"".join(one.body for one in found) == block
    assert [one.kind for one in found] == [1] + [9] * (len(found) - 1)
    assert [one.flags & 1 for one in found] == [int(end)] + [0] * (len(found) - 1)
    assert [one.flags & 4 for one in found] == [0] * (len(found) - 1) + [4]
    assert len(found) == max(1, -(-size // 16384))


@pytest.mark.parametrize("size", [0, 1, 255, 256, frames.FRAME_BYTES])
def test_how_a_frame_begins_is_its_header_without_the_stream(size: int) -> None:
    """Made or known, and however many others were made meanwhile."""
    kind, flags = frames.HEADERS, frames.END_HEADERS | frames.END_STREAM
    header = frames.HEADER.pack(size << 8 | kind, flags, 7)
    for _ in range(2):
        assert frames.beginning(size, kind, flags) + bytes((0, 0, 0, 7)) == header
    for other in range(2 * frames._BEGINNINGS_LIMIT):
        frames.beginning(other, frames.DATA, 0)
    assert len(frames._beginnings) <= frames._BEGINNINGS_LIMIT
    assert frames.beginning(size, kind, flags) == header[:5]


def test_padding_is_taken_away() -> None:
    """Padding may fill a frame but not more."""
    assert frames.without_padding(0, b"\2abc") == b"\2abc"
    assert frames.without_padding(frames.PADDED, b"\2abc\0\0") == b"abc"
    assert frames.without_padding(frames.PADDED, b"\2\0\0") == b""
    for body in (b"", b"\1", b"\3\0\0"):
        with pytest.raises(frames.Broken):
            frames.without_padding(frames.PADDED, body)
