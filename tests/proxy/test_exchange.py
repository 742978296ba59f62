"""One request and its response: what passes, what is refused, what is visible."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.body import BadBody
from haloy.proxy.exchange import (
    AWAITED,
    COMPLETE,
    STREAMING,
    UPGRADED,
    BrokenResponse,
    Exchange,
    TooLarge,
)
from haloy.proxy.fields import BadHead
from haloy.proxy.head import RequestHead, parse_request


def head(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> RequestHead:
    return parse_request(b"\r\n".join([line, b"Host: a.example", *fields]))


def plain(line: bytes = b"GET / HTTP/1.1") -> Exchange:
    return Exchange(head(line=line))


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


# Requests.


def test_a_request_without_a_body_is_done() -> None:
    """Bytes behind it belong to the next one."""
    exchange = plain()
    assert exchange.request_done
    assert exchange.take_request(b"GET /2") == b""
    assert exchange.take_request(b" x") == b""
    assert exchange.surplus == b"GET /2 x"
    assert exchange.request_left == 0


def test_a_request_body_with_a_length() -> None:
    """It is passed as it comes, up to its length."""
    exchange = Exchange(head(b"Content-Length: 5", line=b"POST / HTTP/1.1"))
    assert exchange.request_left == 5
    assert (exchange.take_request(b"he"), exchange.request_done) == (b"he", False)
    assert (exchange.take_request(b"lloGET"), exchange.request_done) == (b"llo", True)
    assert exchange.surplus == b"GET"
    assert exchange.request_bytes == 5


def test_a_chunked_request_body_is_written_anew() -> None:
    """Extensions, case and trailers of the client do not reach the upstream."""
    exchange = Exchange(head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1"))
    assert exchange.take_request(b"00A;x=y\r\n0123") == b"4\r\n0123\r\n"
    assert exchange.take_request(b"") == b""
    passed = exchange.take_request(b"456789\r\n0\r\nX-Evil: 1\r\n\r\nNEXT")
    assert passed == b"6\r\n456789\r\n0\r\n\r\n"
    assert exchange.request_done
    assert exchange.surplus == b"NEXT"


def test_a_bad_chunk_is_refused() -> None:
    """The framing of a request is checked while it streams."""
    exchange = Exchange(head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1"))
    with pytest.raises(BadBody):
        exchange.take_request(b"zz\r\n")


def test_bodies_have_the_limit_of_the_app() -> None:
    """A length beyond it is refused at once, a chunked body when it gets there."""
    with pytest.raises(TooLarge):
        Exchange(
            head(b"Content-Length: 11", line=b"POST / HTTP/1.1"), max_body_bytes=10
        )
    fits = Exchange(
        head(b"Content-Length: 10", line=b"POST / HTTP/1.1"), max_body_bytes=10
    )
    assert fits.take_request(b"0123456789")
    chunked = Exchange(
        head(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1"), max_body_bytes=10
    )
    assert chunked.take_request(b"a\r\n0123456789\r\n")
    with pytest.raises(TooLarge):
        chunked.take_request(b"1\r\n0\r\n")


def test_skipping_a_request_body() -> None:
    """Bytes that go past the machine count like the others."""
    exchange = Exchange(head(b"Content-Length: 5", line=b"POST / HTTP/1.1"))
    exchange.skip_request(3)
    assert (exchange.request_bytes, exchange.request_done) == (3, False)
    exchange.skip_request(2)
    assert (exchange.request_bytes, exchange.request_done) == (5, True)
    with pytest.raises(BadBody):
        exchange.skip_request(1)


# Responses.


def test_an_answer_with_a_length() -> None:
    """Head and body pass; both connections can go on."""
    exchange = plain()
    passed = exchange.take_response(
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhel"
    )
    assert passed == b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nhel"
    assert exchange.response == STREAMING
    assert exchange.response_left == 2
    assert exchange.take_response(b"lo") == b"lo"
    assert exchange.response == COMPLETE
    assert exchange.response_left == 0
    assert (exchange.keep_client, exchange.keep_upstream) == (True, True)
    assert (exchange.status, exchange.response_bytes) == (200, 5)


def test_skipping_a_response_body() -> None:
    """Bytes that go past the machine count like the others."""
    exchange = plain()
    exchange.take_response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    exchange.skip_response(4)
    assert exchange.response == STREAMING
    exchange.skip_response(1)
    assert exchange.response == COMPLETE
    other = plain()
    other.take_response(CHUNKED)
    with pytest.raises(BrokenResponse):
        other.skip_response(1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokEXTRA",
        b"HTTP/1.1 204 No Content\r\n\r\nEXTRA",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\nEXTRA",
    ],
)
def test_bytes_beyond_an_answer_end_the_upstream_connection(answer: bytes) -> None:
    """They do not reach the client, and the connection is not used again."""
    exchange = plain()
    assert b"EXTRA" not in exchange.take_response(answer)
    assert exchange.response == COMPLETE
    assert exchange.keep_client
    assert not exchange.keep_upstream


def test_a_chunked_answer() -> None:
    """It is written anew; only its payload counts."""
    exchange = plain()
    passed = exchange.take_response(CHUNKED + b"5;x\r\nhel")
    assert passed == CHUNKED + b"3\r\nhel\r\n"
    assert exchange.take_response(b"lo\r\n") == b"2\r\nlo\r\n"
    assert exchange.take_response(b"0\r\n") == b""
    assert exchange.take_response(b"\r\n") == b"0\r\n\r\n"
    assert exchange.response_bytes == 5
    assert (exchange.keep_client, exchange.keep_upstream) == (True, True)


def test_trailers_of_an_answer_pass() -> None:
    """Announced or not, unless they steer something."""
    exchange = plain()
    passed = exchange.take_response(
        CHUNKED + b"1\r\nx\r\n0\r\nX-Sum: 1\r\nContent-Length: 3\r\n\r\n"
    )
    assert passed.endswith(b"1\r\nx\r\n0\r\nX-Sum: 1\r\n\r\n")
    exchange = plain()
    passed = exchange.take_response(CHUNKED + b"0\r\nHost: x\r\n\r\n")
    assert passed.endswith(b"\r\n\r\n0\r\n\r\n")


def test_a_chunked_answer_for_http10() -> None:
    """An old client gets the payload and the end of the connection."""
    exchange = plain(b"GET / HTTP/1.0")
    passed = exchange.take_response(
        CHUNKED + b"2\r\nab\r\n3\r\ncde\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    assert passed == b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde"
    assert exchange.cut_by_reset
    assert not exchange.keep_client
    assert exchange.keep_upstream


def test_an_answer_until_close() -> None:
    """It becomes chunked, so that a cut can be told from the end."""
    exchange = plain()
    passed = exchange.take_response(UNTIL_CLOSE + b"abc")
    assert passed == CHUNKED + b"3\r\nabc\r\n"
    assert exchange.end_response() == b"0\r\n\r\n"
    assert exchange.response == COMPLETE
    assert exchange.keep_client
    assert not exchange.keep_upstream


def test_an_answer_until_close_for_http10() -> None:
    """An old client sees the end of the connection."""
    exchange = plain(b"GET / HTTP/1.0")
    assert exchange.take_response(UNTIL_CLOSE).endswith(b"Connection: close\r\n\r\n")
    assert exchange.take_response(b"abc") == b"abc"
    assert exchange.end_response() == b""


def test_http10_keep_alive() -> None:
    """An old client that asks for it keeps its connection if there is a length."""
    exchange = Exchange(head(b"Connection: keep-alive", line=b"GET / HTTP/1.0"))
    passed = exchange.take_response(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: keep-alive\r\n" in passed
    assert exchange.keep_client


@pytest.mark.parametrize(
    ("line", "answer", "passed"),
    [
        (
            b"HEAD / HTTP/1.1",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        ),
        (b"HEAD / HTTP/1.1", CHUNKED, b"HTTP/1.1 200 OK\r\n\r\n"),
        (
            b"GET / HTTP/1.1",
            b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 204 No\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1",
            b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
            b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n",
        ),
        (
            b"GET / HTTP/1.1",
            b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
        ),
    ],
)
def test_answers_without_a_body(line: bytes, answer: bytes, passed: bytes) -> None:
    """HEAD, 204 and 304 end with their head whatever it says."""
    exchange = plain(line)
    assert exchange.take_response(answer) == passed
    assert exchange.response == COMPLETE
    assert exchange.keep_client
    assert exchange.keep_upstream


def test_closing() -> None:
    """A client that closes, a proxy that stops: both are told with the answer."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    asked = Exchange(head(b"Connection: close"))
    assert b"Connection: close" in asked.take_response(answer)
    stopping = Exchange(head(), closing=True)
    assert b"Connection: close" in stopping.take_response(answer)
    assert not stopping.keep_client


def test_an_upstream_that_closes() -> None:
    """Its wish concerns its own connection only."""
    exchange = plain()
    passed = exchange.take_response(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    assert b"close" not in passed
    assert exchange.keep_client
    assert not exchange.keep_upstream


def test_an_early_answer() -> None:
    """An answer before the end of the request is delivered, then it is over."""
    exchange = Exchange(head(b"Content-Length: 9", line=b"POST / HTTP/1.1"))
    passed = exchange.take_response(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n")
    assert b"Connection: close" in passed
    assert exchange.response == COMPLETE
    assert not exchange.keep_client


def test_extra_fields() -> None:
    """What an app configures is added and replaces its own."""
    exchange = Exchange(
        head(),
        extra=b"X-Frame-Options: DENY\r\n",
        replaced=frozenset([b"x-frame-options"]),
    )
    passed = exchange.take_response(
        b"HTTP/1.1 200 OK\r\nX-Frame-Options: ALLOW\r\nX-A: 1\r\n"
        b"Content-Length: 0\r\n\r\n"
    )
    assert passed == (
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\n"
        b"X-Frame-Options: DENY\r\n\r\n"
    )


def test_interim_answers() -> None:
    """100 and 103 pass, others do not, and the final one follows."""
    exchange = plain()
    passed = exchange.take_response(
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 102 Processing\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    assert passed == (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    )
    assert exchange.interim_seen


def test_interim_answers_are_nothing_for_http10() -> None:
    """An old client would take them for the answer."""
    exchange = plain(b"GET / HTTP/1.0")
    assert exchange.take_response(b"HTTP/1.1 100 Continue\r\n\r\n") == b""
    assert exchange.response == AWAITED


def test_interim_answers_have_an_end() -> None:
    """An upstream that never comes to the point is cut."""
    exchange = plain()
    with pytest.raises(BadHead):
        exchange.take_response(b"HTTP/1.1 102 x\r\n\r\n" * 100)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_head_in_pieces(size: int) -> None:
    """A head may come in any number of segments."""
    answer = (
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 20000 + b"\r\nContent-Length: 2\r\n\r\nok"
    )
    exchange = plain()
    passed = b"".join(
        exchange.take_response(answer[i : i + size])
        for i in range(0, len(answer), size)
    )
    assert passed == answer


# Upgrades.

SWITCH = (
    b"HTTP/1.1 101 Switching\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: x\r\n\r\n"
)


def test_an_upgrade() -> None:
    """The 101 passes, and so do the bytes behind it and after."""
    exchange = Exchange(head(), upgrade=b"websocket")
    passed = exchange.take_response(SWITCH + b"frame")
    assert passed == (
        b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: x\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\nframe"
    )
    assert exchange.response == UPGRADED
    assert exchange.status == 101
    assert exchange.take_response(b"more") == b"more"


@pytest.mark.parametrize("upgrade", [b"", b"tcp"])
def test_a_101_that_nobody_asked_for(upgrade: bytes) -> None:
    """It is a bad answer, for another protocol too."""
    with pytest.raises(BadHead):
        Exchange(head(), upgrade=upgrade).take_response(SWITCH)


def test_a_refused_upgrade_is_an_answer() -> None:
    """Any status but 101 is passed on as HTTP, and the connection goes on."""
    exchange = Exchange(head(), upgrade=b"websocket")
    exchange.take_response(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
    assert exchange.response == COMPLETE
    assert exchange.keep_client


# Ends that come too early.


def test_no_answer() -> None:
    """The end before an answer is a bad answer."""
    with pytest.raises(BadHead):
        plain().end_response()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
        CHUNKED + b"5\r\nab",
        CHUNKED + b"2\r\nab\r\n",
        CHUNKED + b"2\r\nab\r\n0\r\n",
    ],
)
def test_a_body_that_breaks_off(answer: bytes) -> None:
    """It is never ended in order: no last chunk, nothing filled up."""
    exchange = plain()
    assert not exchange.take_response(answer).endswith(b"0\r\n\r\n")
    with pytest.raises(BrokenResponse):
        exchange.end_response()
    assert exchange.response == STREAMING


def test_a_bad_chunk_in_an_answer() -> None:
    """A wrong chunk is a cut, as the head has gone out."""
    exchange = plain()
    exchange.take_response(CHUNKED)
    with pytest.raises(BrokenResponse):
        exchange.take_response(b"zz\r\n")


# Once more.


@pytest.mark.parametrize(
    ("line", "fields", "reused", "heard", "expected"),
    [
        (b"GET / HTTP/1.1", (), True, False, True),
        (b"HEAD / HTTP/1.1", (), True, False, True),
        (b"DELETE / HTTP/1.1", (), True, False, True),
        (b"GET / HTTP/1.1", (), False, False, False),
        (b"GET / HTTP/1.1", (), True, True, False),
        (b"POST / HTTP/1.1", (), True, False, False),
        (b"PATCH / HTTP/1.1", (), True, False, False),
        (b"PUT / HTTP/1.1", (b"Content-Length: 3",), True, False, False),
    ],
)
def test_when_a_request_may_go_out_again(
    line: bytes, fields: tuple[bytes, ...], reused: bool, heard: bool, expected: bool
) -> None:
    """An idempotent one without a body, on a dead pooled connection, unanswered."""
    exchange = Exchange(head(*fields, line=line))
    if heard:
        exchange.take_response(b"H")
    assert exchange.may_retry(reused=reused) is expected


def test_a_streamed_body_is_not_sent_again() -> None:
    """A body that has gone out is not there any more."""
    exchange = Exchange(head(b"Content-Length: 3", line=b"PUT / HTTP/1.1"))
    exchange.take_request(b"abc")
    assert exchange.request_done
    assert not exchange.may_retry(reused=True)


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 204 None\r\n\r\n",
]


@given(st.sampled_from(ANSWERS), st.lists(st.integers(1, 100), max_size=6))
def test_an_answer_whatever_the_split(answer: bytes, cuts: list[int]) -> None:
    """Any split of the bytes gives the same bytes and the same state."""
    whole = plain()
    expected = whole.take_response(answer)
    places = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    exchange = plain()
    passed = b"".join(exchange.take_response(answer[a:b]) for a, b in pairwise(places))
    assert passed == expected
    assert exchange.response == whole.response == COMPLETE
    assert exchange.keep_upstream is whole.keep_upstream


@given(st.lists(st.binary(min_size=1, max_size=30), max_size=6))
def test_a_chunked_answer_whatever_the_split(parts: list[bytes]) -> None:
    """What the client reads is what the upstream wrote."""
    stream = CHUNKED + b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts)
    stream += b"0\r\n\r\n"
    exchange = plain(b"GET / HTTP/1.0")
    passed = b"".join(
        exchange.take_response(stream[i : i + 3]) for i in range(0, len(stream), 3)
    )
    assert passed.partition(b"\r\n\r\n")[2] == b"".join(parts)
    assert exchange.response == COMPLETE
