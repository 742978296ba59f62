"""Answers of upstreams: what is refused, what goes on."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy import response_head
from haloy.proxy.fields import FIELDS_LIMIT, BadHead
from haloy.proxy.response_head import may_have_body, parse_response


def bad_response(*lines: bytes) -> None:
    with pytest.raises(BadHead) as caught:
        parse_response(b"\r\n".join(lines))
    assert caught.value.status == 502


@pytest.mark.parametrize(
    "lines",
    [
        [b"HTTP/2 200 OK"],
        [b"HTTP/1.2 200 OK"],
        [b"http/1.1 200 OK"],
        [b"HTTP/1.1  200 OK"],
        [b"HTTP/1.1 20 OK"],
        [b"HTTP/1.1 2000 OK"],
        [b"HTTP/1.1 099 OK"],
        [b"HTTP/1.1 +20 OK"],
        [b"HTTP/1.1 200OK"],
        [b"garbage"],
        [b""],
        [b"HTTP/1.1 200 OK", b"X : y"],
        [b"HTTP/1.1 200 OK", b" folded"],
        [b"HTTP/1.1 200 OK", b"no colon"],
        [b"HTTP/1.1 200 OK", b"X-A: b", b"X-A"],
        [b"HTTP/1.1 200 OK", b"Content-Length"],
        [b"HTTP/1.1 200 OK", b"X: a\nb"],
        [b"HTTP/1.1 200 OK", b"X: a\rb"],
        [b"HTTP/1.1 200 OK", b"X: a\0b"],
        [b"HTTP/1.1 200 OK", b"Content-Length: x"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Content-Length: 6"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 5, 5"],
        [b"HTTP/1.1 200 OK", b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"HTTP/1.1 200 OK", b"Transfer-Encoding: gzip, chunked"],
        [b"HTTP/1.1 200 OK", *[b"Transfer-Encoding: chunked"] * 2],
        [b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked"],
        [b"HTTP/1.1 200 OK", *[b"X: y"] * (FIELDS_LIMIT + 1)],
    ],
)
def test_bad_answers_are_refused(lines: list[bytes]) -> None:
    """An answer that can be read in two ways becomes a 502."""
    bad_response(*lines)


def test_an_answer() -> None:
    """Status, reason, framing and fields come out; hop-by-hop fields do not."""
    parsed = parse_response(
        b"\r\n".join(
            [
                b"HTTP/1.1 200 All right",
                b"Content-Length: 5",
                b"Content-Length: 5",
                b"Connection: keep-alive, X-Mine",
                b"X-Mine: 1",
                b"Keep-Alive: timeout=5",
                b"Set-Cookie: a",
                b"Set-Cookie: b",
                b"Upgrade: h2c",
            ]
        )
    )
    assert (parsed.status, parsed.reason, parsed.length_bytes) == (200, b"All right", 5)
    assert parsed.fields == [b"Set-Cookie: a", b"Set-Cookie: b"]
    assert not parsed.close
    assert parsed.upgrade == b""


@pytest.mark.parametrize(
    ("line", "connection", "close"),
    [
        (b"HTTP/1.1 200", b"", False),
        (b"HTTP/1.1 200 ", b"Close", True),
        (b"HTTP/1.0 200 OK", b"", True),
        (b"HTTP/1.0 200 OK", b"keep-alive", False),
        (b"HTTP/1.1 200 OK", b"x, close", True),
        (b"HTTP/1.1 200 OK", b"x", False),
    ],
)
def test_whether_the_upstream_closes(
    line: bytes, connection: bytes, close: bool
) -> None:
    """The version and Connection tell whether the connection can go on."""
    lines = [line, *([b"Connection: " + connection] if connection else [])]
    assert parse_response(b"\r\n".join(lines)).close is close


def test_several_connection_fields_are_one_list() -> None:
    """Each line of Connection counts."""
    block = (
        b"HTTP/1.1 101 x\r\nConnection: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket"
    )
    assert parse_response(block).upgrade == b"websocket"


def test_chunked_answer() -> None:
    """Chunked is known by its field."""
    assert parse_response(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked").chunked


def test_which_answers_have_a_body() -> None:
    """HEAD, 204 and 304 have none whatever the upstream says."""
    assert may_have_body(b"GET", 200)
    assert not may_have_body(b"HEAD", 200)
    assert not may_have_body(b"GET", 204)
    assert not may_have_body(b"GET", 304)


@given(st.binary(max_size=300))
def test_any_bytes_are_either_a_head_or_refused(data: bytes) -> None:
    """Nothing but L{BadHead} comes out of garbage."""
    with suppress(BadHead):
        parse_response(data)


def test_status_lines_are_remembered_up_to_a_limit() -> None:
    """Many reasons do not fill the memory, long ones are not kept at all."""
    for number in range(1000):
        parse_response(b"HTTP/1.1 200 Reason %d" % number)
    assert parse_response(b"HTTP/1.1 200 " + b"r" * 200).reason == b"r" * 200
    assert len(response_head._status_lines) <= response_head._STATUS_LINES_LIMIT
