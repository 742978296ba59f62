"""Exchanges whose client speaks HTTP/2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.body import CHUNKED, LENGTH
from haloy.proxy.exchange import AWAITED, COMPLETE, STREAMING, TooLarge
from haloy.proxy.fields import BadHead
from haloy.proxy.head import RequestHead
from haloy.proxy.http2 import exchange as module
from haloy.proxy.http2.exchange import (
    KnownAnswer,
    StreamExchange,
    encode_line,
    encode_lines,
)
from haloy.proxy.http2.stream_state import Piece
from haloy.proxy.response_head import ResponseHead
from tests.proxy.http2.support import decode


def request(method: bytes = b"GET", framing: int = 0, length: int = 0) -> RequestHead:
    head = RequestHead(method, b"/", False)
    head.framing = framing
    head.length_bytes = length
    return head


def exchange(method: bytes = b"GET", **options: object) -> StreamExchange:
    return StreamExchange(request(method), **options)  # type: ignore[arg-type]  # a test


def test_a_small_answer_is_a_head_and_its_body() -> None:
    """Names in lower case, the connection's fields left out, the rest in order."""
    one = exchange()
    body = one.take_response(
        b"HTTP/1.1 200 Fine\r\nContent-Type: text/html\r\n"
        b"Connection: close, X-Gone\r\nX-Gone: 1\r\nSet-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\nContent-Length: 3\r\n\r\nabc"
    )
    assert body == b"abc"
    assert [decode(block) for block in one.heads] == [
        [
            (":status", "200"),
            ("content-type", "text/html"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("content-length", "3"),
        ]
    ]
    assert one.response == COMPLETE
    assert not one.keep_upstream
    assert one.trailers == b""


WHOLE = (
    b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Wait\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: old\r\n\r\n"
    b"3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-Sum: 7\r\nHost: no\r\n\r\n"
)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=6))
def test_any_split_of_a_chunked_answer_gives_the_same(cuts: list[int]) -> None:
    """Interim heads, payload without its chunks, trailers, fields of ours."""
    one = exchange(extra=b"Server: new\r\nX-B: 1\r\n", replaced=frozenset([b"server"]))
    payload = b""
    start = 0
    for cut in [*sorted(cuts), len(WHOLE)]:
        if cut > start:
            payload += one.take_response(WHOLE[start:cut])
            start = cut
    assert payload == b"abcdefg"
    assert [decode(block) for block in one.heads] == [
        [(":status", "103"), ("link", "</a>")],
        [(":status", "200"), ("server", "new"), ("x-b", "1")],
    ]
    assert decode(one.trailers) == [("x-sum", "7")]
    assert one.response == COMPLETE
    assert one.keep_upstream


def test_a_body_that_ends_with_the_connection_streams() -> None:
    """No length is made up, no chunks are written."""
    one = exchange()
    assert one.take_response(b"HTTP/1.1 200 OK\r\n\r\nab") == b"ab"
    assert one.response == STREAMING
    assert one.take_response(b"cd") == b"cd"
    assert one.end_response() == b""
    assert one.response == COMPLETE


@pytest.mark.parametrize(
    ("method", "head", "fields"),
    [
        (b"HEAD", b"200 OK\r\nContent-Length: 9", [("content-length", "9")]),
        (b"HEAD", b"200 OK\r\nTransfer-Encoding: chunked", []),
        (b"GET", b"204 No\r\nContent-Length: 0", []),
        (b"GET", b"304 No\r\nContent-Length: 9", [("content-length", "9")]),
    ],
)
def test_some_answers_have_no_body(
    method: bytes, head: bytes, fields: list[tuple[str, str]]
) -> None:
    """HEAD, 204, 304: complete with the head, the length as it was told."""
    one = exchange(method)
    assert one.take_response(b"HTTP/1.1 " + head + b"\r\n\r\n") == b""
    assert one.response == COMPLETE
    assert decode(one.heads[0])[1:] == fields


def test_too_many_interim_answers_are_a_broken_upstream() -> None:
    """32 are enough."""
    one = exchange()
    one.take_response(b"HTTP/1.1 100 Go\r\n\r\n" * 32)
    assert len(one.heads) == 32
    with pytest.raises(BadHead):
        one.take_response(b"HTTP/1.1 100 Go\r\n\r\n")
    assert one.response == AWAITED


def test_an_upgrade_that_nobody_asked_for_is_refused() -> None:
    """101 has no meaning in HTTP/2."""
    with pytest.raises(BadHead):
        exchange().take_response(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n")


def test_a_body_with_a_length_goes_up_as_it_is() -> None:
    """It is done when its last byte came, or with the end of the stream."""
    one = StreamExchange(request(b"PUT", LENGTH, 5), max_body_bytes=5)
    assert one.take_request(b"abc") == b"abc"
    assert (one.request_done,) == (False,)
    assert one.take_request(b"de") == b"de"
    assert one.request_done
    assert one.end_request([(b"x-a", b"1")]) == b""
    with pytest.raises(TooLarge):
        StreamExchange(request(b"PUT", LENGTH, 6), max_body_bytes=5)


def test_a_body_without_a_length_goes_up_in_chunks() -> None:
    """With the trailers that may be passed on; the limit counts the payload."""
    one = StreamExchange(request(b"PUT", CHUNKED), max_body_bytes=5)
    assert one.take_request(b"abc") == b"3\r\nabc\r\n"
    end = one.end_request([(b"x-sum", b"1"), (b"host", b"evil"), (b"x-\n", b"1")])
    assert end == b"0\r\nx-sum: 1\r\n\r\n"
    assert one.request_done
    with pytest.raises(TooLarge):
        one.take_request(b"def")
    plain = StreamExchange(request(b"PUT", CHUNKED))
    assert plain.end_request([]) == b"0\r\n\r\n"


def test_pieces_of_a_body_go_up_as_they_are() -> None:
    """With a length nothing is between them; without, they are one chunk."""
    space = memoryview(b"0123456789")
    pieces: list[Piece] = [space[2:5], b"x", space[:4]]
    one = StreamExchange(request(b"PUT", LENGTH, 9), max_body_bytes=9)
    assert one.take_pieces(pieces, 8) is pieces
    assert (one.request_done,) == (False,)
    assert one.take_pieces([b"y"], 1) == [b"y"]
    assert one.request_done
    many = StreamExchange(request(b"PUT", CHUNKED), max_body_bytes=9)
    assert many.take_pieces(pieces, 8) == [b"8\r\n", *pieces, b"\r\n"]
    assert many.request_bytes == 8
    with pytest.raises(TooLarge):
        many.take_pieces([b"yz"], 2)


def test_lines_met_before_are_looked_up_but_no_secrets() -> None:
    """Thousands of lines leave one table."""
    for n in range(5000):
        encode_line(b"X-N: %d" % n)
    assert len(module._known) <= 4096
    encode_line(b"Set-Cookie: secret")
    encode_line(b"X-Long: " + b"l" * 500)
    assert not any(b"secret" in line or len(line) > 256 for line in module._known)
    assert decode(encode_lines([b"A: \t b \t", b"C:d"])) == [("a", "b"), ("c", "d")]


def test_a_head_met_before_means_the_same() -> None:
    """For HEAD too, behind an interim one, and with other lines of ours."""
    module._heads.clear()
    text = b"HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 3\r\n\r\n"
    for _ in range(2):
        one = exchange()
        assert one.take_response(text + b"abc") == b"abc"
        assert one.response == COMPLETE
        assert one.keep_upstream
        assert decode(one.heads[0])[1:] == [("a", "1"), ("content-length", "3")]
        part = exchange()
        assert part.take_response(text + b"a") == b"a"
        assert part.response == STREAMING
        assert part.take_response(b"bc") == b"bc"
        assert part.response == COMPLETE
        bodiless = exchange(b"HEAD")
        assert bodiless.take_response(text) == b""
        assert bodiless.response == COMPLETE
        assert bodiless.keep_upstream
        lied = exchange(b"HEAD")
        assert lied.take_response(text + b"abc") == b""
        assert not lied.keep_upstream
        ours = exchange(extra=b"A: 2\r\n", replaced=frozenset([b"a"]))
        ours.take_response(text + b"abc")
        assert decode(ours.heads[0])[1:] == [("content-length", "3"), ("a", "2")]
    assert len(module._heads) == 2
    early = b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n"
    for _ in range(2):
        late = exchange()
        late.take_response(early + text + b"abc")
        assert [decode(block)[0] for block in late.heads] == [
            (":status", "103"),
            (":status", "200"),
        ]
    assert len(module._heads) == 2


def test_remembered_heads_are_bounded_and_hold_no_cookies() -> None:
    """Thousands of heads leave one table."""
    module._heads.clear()
    private = b"HTTP/1.1 204 No\r\nSet-Cookie: a=secret\r\n\r\n"
    exchange().take_response(private)
    exchange().take_response(b"HTTP/1.1 204 No\r\nA: " + b"l" * 3000 + b"\r\n\r\n")
    assert not module._heads
    for number in range(1500):
        exchange().take_response(b"HTTP/1.1 204 No\r\nA: %d\r\n\r\n" % number)
    assert 0 < len(module._heads) <= 512


@pytest.mark.parametrize(
    ("status", "size", "whole"),
    [
        (200, 5, True),
        (204, 5, False),
        (304, 5, False),
        (200, 4, False),
        (200, 0, False),
    ],
)
def test_a_known_answer_that_is_whole(status: int, size: int, whole: bool) -> None:
    """It has its body, and may have one."""
    head = ResponseHead(status, b"OK", False)
    head.length_bytes = 5
    assert KnownAnswer(head, b"").whole(size) is whole
