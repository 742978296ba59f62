"""What is known of one stream."""

from __future__ import annotations

import pytest

from haloy.proxy.http2.stream_state import Piece, Stream, content, content_bytes


@pytest.mark.parametrize(
    "pieces", [[], [b""], [b"ab"], [b"ab", b"c"], [memoryview(b"ab"), b"c"]]
)
def test_what_has_come_of_a_body_stays_where_it_is(pieces: list[Piece]) -> None:
    """In one piece, by itself and counted."""
    stream = Stream(1, 0)
    stream.inbox = pieces
    whole = content(stream)
    assert type(whole) is bytes
    assert whole == b"".join(pieces)
    assert content_bytes(stream) == len(whole)
    assert stream.inbox is pieces


def test_a_lent_piece_is_copied_and_another_is_not() -> None:
    """What is lent is overwritten by the next read."""
    stream = Stream(1, 0)
    lent = bytearray(b"abc")
    stream.inbox = [memoryview(lent)]
    kept = content(stream)
    lent[:] = b"xyz"
    assert kept == b"abc"
    stream.inbox = [kept]
    assert content(stream) is kept


@pytest.mark.parametrize("stream_id", [1, 0x01020304, 0x7FFFFFFF])
def test_its_number_is_as_frames_have_it(stream_id: int) -> None:
    """Four octets, the most significant first (RFC 9113 section 4.1)."""
    assert int.from_bytes(Stream(stream_id, 0).number, "big") == stream_id
    assert len(Stream(stream_id, 0).number) == 4
