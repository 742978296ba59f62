"""Blocks that are known mean what they meant when they were parsed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.fields import BadHead
from haloy.proxy.head import RequestHead, parse_request
from haloy.proxy.head_cache import BLOCK_LIMIT_BYTES, HeadCache
from tests.proxy.cases import TABLE

HOST = b"\r\nHost: app.example.com"

LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1",
        b"POST /x?y HTTP/1.1",
        b"GET / HTTP/1.0",
        b"OPTIONS * HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET http://app.example.com/a HTTP/1.1",
        b"GET http://other.example.com/a HTTP/1.1",
        b"GET /\n HTTP/1.1",
        b"GET /\r HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"TRACE / HTTP/1.1",
        b"GET / HTTP/2.0",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1",
    ]
)
BLOCKS = st.lists(
    st.sampled_from(
        [
            b"",
            HOST,
            b"\r\nHost: other.example.com",
            b"\r\nContent-Length: 5",
            b"\r\nTransfer-Encoding: chunked",
            b"\r\nConnection: keep-alive, x-a",
            b"\r\nConnection: close",
            b"\r\nConnection: Upgrade\r\nUpgrade: websocket",
            b"\r\nExpect: 100-continue",
            b"\r\nTE: trailers",
            b"\r\nX-A: b",
            b"\r\nX-Request-ID: a1",
            b"\r\nX-Forwarded-For: 6.6.6.6",
            b"\r\nCookie: a=b",
            b"\r\nno field",
        ]
    ),
    max_size=6,
).map(lambda parts: HOST + b"".join(parts))


def _meaning(head: RequestHead | BadHead) -> object:
    if isinstance(head, BadHead):
        return head.status
    # A compiled class has no __slots__ to list them.
    names = [name for name in dir(head) if not name.startswith("_")]
    assert {"host", "fields", "framing"} < set(names)
    return [getattr(head, name) for name in names]


def _parsed(block: bytes, cache: HeadCache | None = None) -> object:
    try:
        head = cache.parse("192.0.2.1", block) if cache else parse_request(block)
    except BadHead as error:
        return _meaning(error)
    meaning = _meaning(head)
    # Whoever uses a head gives it a name, a target and so on.
    head.request_id = b"changed"
    head.target = b"/changed"
    return meaning


@given(st.lists(st.tuples(LINES, BLOCKS), max_size=8), st.integers(0, 7))
def test_a_hit_means_what_parsing_means(
    heads: list[tuple[bytes, bytes]], again: int
) -> None:
    """Whatever was parsed before, any line before any block gives the same."""
    cache = HeadCache()
    for _ in range(2):
        cache.parse("192.0.2.1", b"GET / HTTP/1.1" + HOST)
    assert len(cache) == 1
    heads += heads[:again] + heads[:again]
    for line, block in heads:
        assert _parsed(line + block, cache) == _parsed(line + block)
    for line, _ in heads:
        assert _parsed(line + HOST, cache) == _parsed(line + HOST)


@pytest.mark.parametrize("group", TABLE)
def test_nothing_bad_gets_in(group: str) -> None:
    """All raw cases three times: each is like the first, and like parsing."""
    cache = HeadCache()
    for case in TABLE[group].values():
        block = case.data.partition(b"\r\n\r\n")[0]
        want = _parsed(block)
        assert [_parsed(block, cache) for _ in range(3)] == [want] * 3


def test_clients_share_nothing() -> None:
    """The same bytes of another address are parsed for themselves."""
    cache = HeadCache()
    for peer in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
        cache.parse(peer, b"GET / HTTP/1.1" + HOST)
    assert len(cache) == 1
    cache.parse("192.0.2.2", b"GET / HTTP/1.1" + HOST)
    assert len(cache) == 2


def test_what_comes_once_is_not_remembered() -> None:
    """It would take the place of what comes again."""
    cache = HeadCache(limit=4)
    for _ in range(2):
        cache.parse("192.0.2.1", b"GET / HTTP/1.1" + HOST)
    for count in range(20):
        cache.parse("192.0.2.1", b"GET / HTTP/1.1%b\r\nX: %d" % (HOST, count))
    assert len(cache) == 1


def test_it_has_a_limit() -> None:
    """In number, and in bytes of one block."""
    cache = HeadCache(limit=4)
    for count in range(11):
        for _ in range(2):
            cache.parse("192.0.2.1", b"GET / HTTP/1.1%b\r\nX: %d" % (HOST, count))
        assert 1 <= len(cache) <= 4
    cache = HeadCache()
    for _ in range(2):
        cache.parse("192.0.2.1", b"GET / HTTP/1.1%b\r\nX: %b" % (HOST, b"y" * 5000))
    assert not cache
    assert BLOCK_LIMIT_BYTES < 5000


def test_old_clients_are_not_remembered() -> None:
    """HTTP/1.0 gives fields another meaning."""
    cache = HeadCache()
    for _ in range(2):
        cache.parse("192.0.2.1", b"GET / HTTP/1.0" + HOST)
    assert not cache
