"""Bodies: where they end, and what is no body at all."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.body import (
    CHUNK_LINE_LIMIT_BYTES,
    TRAILERS_LIMIT,
    TRAILERS_LIMIT_BYTES,
    BadBody,
    ChunkedBody,
    CloseBody,
    LengthBody,
    chunk,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return C{data} cut at the given places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def test_length_body_ends_at_its_length() -> None:
    """A body with a length takes that much and leaves the rest."""
    body = LengthBody(5)
    assert (body.take(b"abc"), body.done) == (b"abc", False)
    assert (body.take(b"defgh"), body.done) == (b"de", True)
    assert body.rest == b"fgh"


def test_length_body_that_fits() -> None:
    """A segment that ends with the body leaves nothing."""
    body = LengthBody(3)
    assert body.take(b"abc") == b"abc"
    assert (body.done, body.rest) == (True, b"")


def test_length_body_of_nothing() -> None:
    """A body of length 0 is done from the start."""
    assert LengthBody(0).done


def test_close_body_takes_everything() -> None:
    """A body that ends with the connection takes all bytes and ends from outside."""
    body = CloseBody()
    assert body.take(b"x") == b"x"
    assert not body.done


GOOD = [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
    (b"0005\r\nhello\r\n000\r\n\r\n", b"hello"),
    (b"1\r\na\r\n" * 9 + b"1;b\r\na\r\n" * 9 + b"0\r\n\r\n", b"a" * 18),
    (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
    (b"1;a=b\r\nx\r\n0;done\r\n\r\n", b"x"),
    (b'1;a="b;c\\" d"\r\nx\r\n0\r\n\r\n', b"x"),
    (b"1\r\n\r\r\n0\r\n\r\n", b"\r"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
]


def check_good(framed: bytes, payload: bytes, parts: list[bytes]) -> None:
    body = ChunkedBody()
    taken = b""
    rest = b""
    for part in parts:
        if body.done:
            rest += part
        else:
            taken += body.take(part)
    assert taken == payload
    assert body.done
    assert body.rest + rest == b"NEXT"


@pytest.mark.parametrize(("framed", "payload"), GOOD)
def test_chunked_body_byte_by_byte(framed: bytes, payload: bytes) -> None:
    """Whole and in single bytes, the same comes out."""
    stream = framed + b"NEXT"
    check_good(framed, payload, [stream])
    check_good(framed, payload, [stream[i : i + 1] for i in range(len(stream))])


# No parametrize together with given: pytest-twisted cannot run both.
@given(st.sampled_from(GOOD), st.lists(st.integers(0, 200), max_size=8))
def test_chunked_body_whatever_the_split(
    case: tuple[bytes, bytes], cuts: list[int]
) -> None:
    """Any split of the bytes gives the same payload, end and rest."""
    check_good(*case, pieces(case[0] + b"NEXT", cuts))


def test_rest_behind_the_last_chunk() -> None:
    """Bytes behind the last chunk are left for the next request."""
    body = ChunkedBody()
    assert body.take(b"1\r\nx\r\n0\r\n\r\nGET /") == b"x"
    assert body.rest == b"GET /"


def test_as_many_trailers_as_fields_of_a_head() -> None:
    """A hundred are taken."""
    body = ChunkedBody()
    body.take(b"0\r\n" + b"X:\r\n" * TRAILERS_LIMIT + b"\r\n")
    assert body.done
    assert len(body.trailers) == TRAILERS_LIMIT


def test_trailers_are_kept_as_lines() -> None:
    """Trailer lines are handed out for the caller to judge."""
    body = ChunkedBody()
    body.take(b"0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n")
    assert body.trailers == [b"X-Sum: 1", b"X-More: 2"]


BAD = [
    b"\r\n",
    b"g\r\n",
    b"0x5\r\nhello\r\n",
    b"+5\r\nhello\r\n",
    b"-1\r\n",
    b" 5\r\nhello\r\n",
    b"5 \r\nhello\r\n",
    b"5\nhello\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhelloX\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n",
    b"5;a=b\rc\r\nhello\r\n",
    b"5; a=b\r\nhello\r\n",
    b"5;\r\nhello\r\n",
    b"5;=x\r\nhello\r\n",
    b'5;a="b\r\nhello\r\n',
    b"5,6\r\nhello\r\n",
    b"1234567890123456\r\n",
    b"0\r\nX: y\n\r\n",
    b"0\r\nX: y\rz\r\n\r\n",
    b"5\r\nhello\rX",
]


def take_all(parts: list[bytes]) -> None:
    body = ChunkedBody()
    for part in parts:
        body.take(part)


def check_bad(parts: list[bytes]) -> None:
    with pytest.raises(BadBody):
        take_all(parts)


@pytest.mark.parametrize("framed", BAD)
def test_bad_chunked_framing_is_refused(framed: bytes) -> None:
    """Sizes, line ends and extensions are taken by the grammar alone."""
    check_bad([framed])
    check_bad([framed[i : i + 1] for i in range(len(framed))])


@given(st.sampled_from(BAD), st.lists(st.integers(0, 60), max_size=6))
def test_bad_chunked_framing_whatever_the_split(framed: bytes, cuts: list[int]) -> None:
    """A split of the bytes makes nothing right."""
    check_bad(pieces(framed, cuts))


@given(st.binary(max_size=80))
def test_any_bytes_are_either_chunks_or_refused(data: bytes) -> None:
    """Nothing but L{BadBody} comes out of garbage, and never more than went in."""
    try:
        assert len(ChunkedBody().take(data)) <= len(data)
    except BadBody:
        return


@pytest.mark.parametrize(
    "framed",
    [
        b"5" + b";a=" + b"b" * CHUNK_LINE_LIMIT_BYTES,
        b"5" + b";a=" + b"b" * CHUNK_LINE_LIMIT_BYTES + b"\r\n",
        b"0\r\n" + b"X: y\r\n" * TRAILERS_LIMIT_BYTES,
        b"0\r\n" + b"X:\r\n" * (TRAILERS_LIMIT + 1),
        b"1" + b";a" * CHUNK_LINE_LIMIT_BYTES + b"\r\nx\r\n",
        b"0\r\nX: " + b"y" * 2 * CHUNK_LINE_LIMIT_BYTES,
    ],
)
def test_framing_has_limits(framed: bytes) -> None:
    """Long chunk lines and trailers are refused before they fill the memory."""
    with pytest.raises(BadBody):
        ChunkedBody().take(framed)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_written_chunks_are_read_back(payloads: list[bytes]) -> None:
    """What L{chunk} writes, L{ChunkedBody} reads."""
    framed = b"".join(chunk(payload) for payload in payloads) + b"0\r\n\r\n"
    assert ChunkedBody().take(framed) == b"".join(payloads)
