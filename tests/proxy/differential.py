"""What we pass on, read again by h11: both must have understood the same.

L{check_requests} and L{check_response} take any bytes; they raise only if a peer
behind us would see something else than we have seen. Used by hypothesis in
C{test_differential} and by atheris in C{fuzz/}.
"""

from __future__ import annotations

import h11

from haloy.proxy.body import BadBody
from haloy.proxy.exchange import (
    AWAITED,
    COMPLETE,
    BrokenResponse,
    Exchange,
    TooLarge,
)
from haloy.proxy.fields import BadHead
from haloy.proxy.forwarded import fields
from haloy.proxy.head import (
    HeadReader,
    RequestHead,
    parse_request,
    render_request,
)

FORWARDING = fields(b"192.0.2.1", b"a.example", b"https", b"id", b"00-1-2-01")


def check_requests(data: bytes) -> int:
    """Take C{data} as what a client sends; return how many requests came of it."""
    count = 0
    while data:
        request, behind = _first_head(data)
        if request is None:
            return count
        exchange = Exchange(request)
        passed = render_request(request, b"", FORWARDING)
        try:
            passed += exchange.take_request(behind)
        except BadBody:
            return count
        _compare_request(request, exchange, passed)
        count += 1
        if not exchange.request_done or request.close:
            return count
        assert len(exchange.surplus) < len(data)
        data = exchange.surplus
    return count


def _first_head(data: bytes) -> tuple[RequestHead | None, bytes]:
    reader = HeadReader(of_requests=True)
    try:
        block = reader.take(data)
        return (None, b"") if block is None else (parse_request(block), reader.rest)
    except BadHead:
        return None, b""


def _compare_request(request: RequestHead, exchange: Exchange, passed: bytes) -> None:
    peer = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    peer.receive_data(passed)
    event = peer.next_event()
    assert isinstance(event, h11.Request), event
    assert event.method == request.method
    assert event.target == request.target
    assert event.http_version == b"1.1"
    names = [name for name, _ in event.headers]
    assert names.count(b"host") == 1
    assert names.count(b"x-forwarded-for") == 1
    assert not {b"upgrade", b"keep-alive", b"connection"} & set(names)
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    size = 0
    while True:
        event = peer.next_event()
        if isinstance(event, h11.Data):
            size += len(event.data)
        else:
            break
    assert size == exchange.request_bytes
    assert isinstance(event, h11.EndOfMessage) is exchange.request_done
    if exchange.request_done:
        assert not peer.trailing_data[0]


def check_response(data: bytes, method: bytes = b"GET", size: int = 0) -> bool:
    """Take C{data} as what an upstream answers; tell whether it was complete.

    C{size} cuts it into pieces, which must make no difference.
    """
    whole = _answer(data, method, 0)
    if size:
        pieces = _answer(data, method, size)
        assert _normal(whole) == _normal(pieces)
    passed, exchange = whole
    if exchange is None or exchange.response == AWAITED:
        return False
    peer = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    peer.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    peer.send(h11.EndOfMessage())
    peer.receive_data(passed)
    event = peer.next_event()
    while isinstance(event, h11.InformationalResponse):
        assert event.status_code in (100, 103)
        event = peer.next_event()
    assert isinstance(event, h11.Response), event
    assert event.status_code == exchange.status
    size = 0
    while True:
        event = peer.next_event()
        if isinstance(event, h11.Data):
            size += len(event.data)
        else:
            break
    assert size == exchange.response_bytes
    complete = exchange.response == COMPLETE
    assert isinstance(event, h11.EndOfMessage) is complete
    if complete:
        assert not peer.trailing_data[0]
    return complete


def _answer(data: bytes, method: bytes, size: int) -> tuple[bytes, Exchange | None]:
    exchange = Exchange(parse_request(method + b" / HTTP/1.1\r\nHost: a"))
    passed = b""
    step = size or max(len(data), 1)
    for start in range(0, len(data), step):
        if exchange.response == COMPLETE:
            break
        try:
            passed += exchange.take_response(data[start : start + step])
        except (BadHead, TooLarge):
            return b"", None
        except BrokenResponse:
            return passed, None
    return passed, exchange


def _normal(answer: tuple[bytes, Exchange | None]) -> object:
    """Return what must not depend on how the bytes were cut."""
    _, exchange = answer
    if exchange is None:
        return None
    return exchange.status, exchange.response, exchange.response_bytes
