"""A backend gets the same bytes over HTTP/2 as over HTTP/1.1.

The h2 package makes the frames of a request, hypothesis what it is; the same request
as HTTP/1.1 text goes the way of that.
"""

from __future__ import annotations

import h2.config
import h2.connection
import hpack
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy.body import CHUNKED, ChunkedBody
from haloy.proxy.exchange import Exchange
from haloy.proxy.head import RequestHead, parse_request, render_request
from haloy.proxy.http2.control import BODY, END, ENDED_REQUEST, REQUEST
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.exchange import StreamExchange
from haloy.proxy.http2.head import request_of

NAMES = st.sampled_from(
    [
        "accept",
        "user-agent",
        "cookie",
        "x-a",
        "x-b",
        "authorization",
        "te",
        "referer",
        "x-request-id",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
    ]
)
_TEXT = st.text("abcXYZ019 ;=/,-:%\t\"'", max_size=30).map(lambda one: one.strip(" \t"))
FIELDS = st.lists(
    st.tuples(NAMES, _TEXT).map(
        lambda one: (one[0], "trailers" if one[0] == "te" else one[1])
    ),
    max_size=10,
)
TARGETS = st.text("abc/?=&%20.;~", max_size=30).map(lambda one: f"/{one}")
TRAILERS = st.lists(st.tuples(st.sampled_from(["x-sum", "host", "x-t"]), _TEXT))
PIECES = st.lists(st.binary(min_size=1, max_size=40000), max_size=4)


def over_http2(
    method: str,
    target: str,
    fields: list[tuple[str, str]],
    pieces: list[bytes],
    trailers: list[tuple[str, str]],
    *,
    told: bool,
    indexed: bool,
) -> tuple[RequestHead, bytes, bytes]:
    """Return head, its bytes, and the body's bytes as the backend gets them."""
    client = h2.connection.H2Connection(
        h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False)
    )
    client.initiate_connection()
    engine = Engine(client=False, now_s=0.0)
    size = sum(len(piece) for piece in pieces)
    more = [("content-length", str(size))] if told else []
    kind = hpack.HeaderTuple if indexed else hpack.NeverIndexedHeaderTuple
    head: list[hpack.HeaderTuple] = [
        kind(name.encode(), value.encode())
        for name, value in (
            (":method", method),
            (":scheme", "https"),
            (":path", target),
            (":authority", "app.example.com"),
            *fields,
            *more,
        )
    ]
    bodiless = not pieces and not trailers and not told
    client.send_headers(1, head, end_stream=bodiless)
    request: RequestHead | None = None
    exchange: StreamExchange | None = None
    body = b""

    def exchanged() -> None:
        nonlocal request, exchange, body
        for what, stream, said in engine.receive(client.data_to_send(), 0.0):
            if what in (REQUEST, ENDED_REQUEST):
                request = request_of(said, end=what == ENDED_REQUEST)
                exchange = StreamExchange(request)
            elif what == BODY:
                assert exchange is not None
                data = engine.take_body(stream)
                body += exchange.take_request(data)
                engine.credit(stream, len(data))
            elif what == END:
                assert exchange is not None
                body += exchange.end_request(said)
        client.receive_data(engine.take())

    exchanged()
    for piece in pieces:
        while piece:
            room = min(
                client.local_flow_control_window(1), client.max_outbound_frame_size
            )
            client.send_data(1, piece[:room])
            piece = piece[room:]
            exchanged()
    if trailers:
        client.send_headers(1, trailers, end_stream=True)
    elif not bodiless:
        client.end_stream(1)
    exchanged()
    assert request is not None
    return request, render_request(request, b"", b""), body


def payload_of(body: bytes, framing: int) -> tuple[bytes, list[bytes]]:
    """Return what the backend reads of C{body}, and the trailers."""
    if framing != CHUNKED:
        return body, []
    chunks = ChunkedBody()
    payload = chunks.take(body)
    assert chunks.done
    assert not chunks.rest
    return payload, chunks.trailers


@given(
    st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "X-OTHER"]),
    TARGETS,
    FIELDS,
    PIECES,
    TRAILERS,
    st.booleans(),
    st.booleans(),
)
def test_the_backend_sees_no_difference(
    method: str,
    target: str,
    fields: list[tuple[str, str]],
    pieces: list[bytes],
    trailers: list[tuple[str, str]],
    told: bool,
    indexed: bool,
) -> None:
    """Heads line by line, bodies octet by octet, with the same trailers."""
    if told:
        trailers = []
    request, text, body = over_http2(
        method, target, fields, pieces, trailers, told=told, indexed=indexed
    )
    whole = b"".join(pieces)
    # Cookies come last and in one field, as HTTP/1.1 wants them (RFC 9113 8.2.3).
    cookies = [value for name, value in fields if name == "cookie" and value]
    lines = [f"{method} {target} HTTP/1.1", "Host: app.example.com"]
    lines += [f"{name}: {value}" for name, value in fields if name != "cookie"]
    if cookies:
        # An empty crumb adds nothing but its separator.
        joined = ""
        for name, value in fields:
            if name == "cookie":
                joined = f"{joined}; {value}" if joined else value
        lines.append(f"Cookie: {joined}")
    bodiless = not pieces and not trailers and not told
    if told:
        lines.append(f"Content-Length: {len(whole)}")
    elif not bodiless:
        lines.append("Transfer-Encoding: chunked")
    old = parse_request("\r\n".join(lines).encode())

    def known(data: bytes) -> list[bytes]:
        return sorted(data.replace(b"te: trailers", b"TE: trailers").split(b"\r\n"))

    once = {b"TE: trailers"}
    assert [one for one in known(text) if one not in once] == [
        one for one in known(render_request(old, b"", b"")) if one not in once
    ]
    for name in ("name", "user_agent", "request_id", "forwarded_for", "framing"):
        assert getattr(request, name) == getattr(old, name), name
    payload, ends = payload_of(body, request.framing)
    assert payload == whole
    exchange = Exchange(old)
    if told:
        assert exchange.take_request(whole) == whole
    passable = [f"{n}: {v}".encode() for n, v in trailers if n != "host"]
    assert ends == passable
