"""Heads: what is refused, what goes on, what stops at this hop."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.proxy import head
from haloy.proxy.body import CHUNKED, LENGTH, NO_BODY
from haloy.proxy.fields import (
    FIELDS_LIMIT,
    HEAD_LIMIT_BYTES,
    IN_REQUESTS,
    TARGET_LIMIT_BYTES,
    BadHead,
)
from haloy.proxy.head import (
    HeadReader,
    RequestHead,
    canonical_name,
    parse_request,
    render_request,
)


def request(*fields: bytes, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *fields])


def refused(block: bytes) -> int:
    with pytest.raises(BadHead) as caught:
        parse_request(block)
    return caught.value.status


HOST = b"Host: app.example.com"

BAD_REQUESTS: dict[str, tuple[int, bytes]] = {
    "length with chunked": (
        400,
        request(HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    ),
    "chunked with length": (
        400,
        request(HOST, b"Transfer-Encoding: chunked", b"Content-Length: 5"),
    ),
    "two equal lengths": (
        400,
        request(HOST, b"Content-Length: 5", b"Content-Length: 5"),
    ),
    "two lengths": (400, request(HOST, b"Content-Length: 5", b"Content-Length: 6")),
    "list of lengths": (400, request(HOST, b"Content-Length: 5, 5")),
    "signed length": (400, request(HOST, b"Content-Length: +5")),
    "negative length": (400, request(HOST, b"Content-Length: -5")),
    "hexadecimal length": (400, request(HOST, b"Content-Length: 0x5")),
    "empty length": (400, request(HOST, b"Content-Length:")),
    "length with a space": (400, request(HOST, b"Content-Length: 1 2")),
    "length of other digits": (400, request(HOST, b"Content-Length: \xb2")),
    "huge length": (400, request(HOST, b"Content-Length: " + b"9" * 19)),
    "gzip, chunked": (400, request(HOST, b"Transfer-Encoding: gzip, chunked")),
    "identity": (400, request(HOST, b"Transfer-Encoding: identity")),
    "xchunked": (400, request(HOST, b"Transfer-Encoding: xchunked")),
    "quoted chunked": (400, request(HOST, b'Transfer-Encoding: "chunked"')),
    "empty coding": (400, request(HOST, b"Transfer-Encoding:")),
    "chunked twice": (
        400,
        request(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    ),
    "chunked, chunked": (400, request(HOST, b"Transfer-Encoding: chunked, chunked")),
    "chunked on 1.0": (
        400,
        request(HOST, b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
    ),
    "vertical tab": (400, request(HOST, b"Transfer-Encoding: \x0bchunked")),
    "bare LF": (400, request(HOST, b"X: a\nY: b")),
    "bare CR": (400, request(HOST, b"X: a\rY: b")),
    "CR before CRLF": (400, request(HOST, b"X: a\r")),
    "NUL": (400, request(HOST, b"X: a\0b")),
    "delete": (400, request(HOST, b"X: a\x7fb")),
    "escape in the line": (400, request(HOST, line=b"GET /\x1b HTTP/1.1")),
    "folded field": (400, request(HOST, b"X: a", b" b")),
    "folded by tab": (400, request(HOST, b"X: a", b"\tb")),
    "folded at once": (400, request(b" " + HOST)),
    "space before the colon": (400, request(HOST, b"Content-Length : 5")),
    "tab before the colon": (400, request(HOST, b"X\t: 5")),
    "space in the name": (400, request(HOST, b"X Y: 5")),
    "no colon": (400, request(HOST, b"Nonsense")),
    "known name, no colon": (400, request(HOST, b"X-A: b", b"X-A")),
    "host, no colon": (400, request(b"Host")),
    "no name": (400, request(HOST, b": value")),
    "empty line": (400, request(HOST, b"", b"X: y")),
    "name with brackets": (400, request(HOST, b"X(Y): z")),
    "name beyond ASCII": (400, request(HOST, b"X\xe4: z")),
    "no host": (400, request()),
    "no host on 1.0": (400, request(line=b"GET / HTTP/1.0")),
    "empty host": (400, request(b"Host:")),
    "two hosts": (400, request(HOST, HOST)),
    "host with a path": (400, request(b"Host: app.example.com/x")),
    "host with a user": (400, request(b"Host: me@app.example.com")),
    "host with a space": (400, request(b"Host: app example")),
    "host list": (400, request(b"Host: a.example, b.example")),
    "host with a word as port": (400, request(b"Host: app.example.com:x")),
    "host with an empty port": (400, request(b"Host: app.example.com:")),
    "host with two ports": (400, request(b"Host: app.example.com:80:80")),
    "host beyond ASCII": (400, request(b"Host: \xe4.example")),
    "host with empty label": (400, request(b"Host: app..example.com")),
    "host of a dot": (400, request(b"Host: .")),
    "open bracket": (400, request(b"Host: [::1")),
    "absolute form elsewhere": (
        400,
        request(HOST, line=b"GET http://other.example/ HTTP/1.1"),
    ),
    "absolute form with port": (
        400,
        request(HOST, line=b"GET http://app.example.com:8080/ HTTP/1.1"),
    ),
    "absolute form with user": (
        400,
        request(HOST, line=b"GET http://me@app.example.com/ HTTP/1.1"),
    ),
    "other scheme": (400, request(HOST, line=b"GET ftp://app.example.com/ HTTP/1.1")),
    "relative target": (400, request(HOST, line=b"GET index.html HTTP/1.1")),
    "asterisk with GET": (400, request(HOST, line=b"GET * HTTP/1.1")),
    "authority form": (400, request(HOST, line=b"GET app.example.com:443 HTTP/1.1")),
    "fragment": (400, request(HOST, line=b"GET /a#b HTTP/1.1")),
    "target beyond ASCII": (400, request(HOST, line=b"GET /\xe4 HTTP/1.1")),
    "empty target": (400, request(HOST, line=b"GET  HTTP/1.1")),
    "two spaces": (400, request(HOST, line=b"GET  / HTTP/1.1")),
    "space at the end": (400, request(HOST, line=b"GET / HTTP/1.1 ")),
    "space at the start": (400, request(HOST, line=b" GET / HTTP/1.1")),
    "tabs": (400, request(HOST, line=b"GET\t/\tHTTP/1.1")),
    "target with a space": (400, request(HOST, line=b"GET /a b HTTP/1.1")),
    "no version": (400, request(HOST, line=b"GET /")),
    "version in lower case": (400, request(HOST, line=b"GET / http/1.1")),
    "version without digits": (400, request(HOST, line=b"GET / HTTP/1")),
    "version with more digits": (400, request(HOST, line=b"GET / HTTP/1.10")),
    "method that is no token": (400, request(HOST, line=b"G(T / HTTP/1.1")),
    "HTTP/2.0": (505, request(HOST, line=b"GET / HTTP/2.0")),
    "HTTP/1.2": (505, request(HOST, line=b"GET / HTTP/1.2")),
    "HTTP/0.9": (505, request(HOST, line=b"GET / HTTP/0.9")),
    "preface of HTTP/2": (505, request(line=b"PRI * HTTP/2.0")),
    "CONNECT": (405, request(HOST, line=b"CONNECT app.example.com:443 HTTP/1.1")),
    "TRACE": (405, request(HOST, line=b"TRACE / HTTP/1.1")),
    "long target": (
        414,
        request(HOST, line=b"GET /" + b"a" * TARGET_LIMIT_BYTES + b" HTTP/1.1"),
    ),
    "many fields": (431, request(HOST, *[b"X: y"] * FIELDS_LIMIT)),
    "other expectation": (417, request(HOST, b"Expect: tea")),
}


@pytest.mark.parametrize(
    ("status", "block"), BAD_REQUESTS.values(), ids=BAD_REQUESTS.keys()
)
def test_what_lenient_parsers_disagree_on_is_refused(status: int, block: bytes) -> None:
    """Each of these is refused with the status that names the fault."""
    assert refused(block) == status


def test_a_plain_request() -> None:
    """Method, target, host and fields come out as they went in."""
    parsed = parse_request(
        request(b"Host: App.Example.com:8443", b"User-Agent: me/1", b"X-A: 1")
    )
    assert (parsed.method, parsed.target) == (b"GET", b"/")
    assert (parsed.host, parsed.name) == (b"App.Example.com:8443", "app.example.com")
    assert parsed.user_agent == b"me/1"
    assert parsed.fields == [b"User-Agent: me/1", b"X-A: 1"]
    assert (parsed.framing, parsed.close, parsed.http10) == (NO_BODY, False, False)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (b"app.example.com", "app.example.com"),
        (b"APP.example.com:80", "app.example.com"),
        (b"app.example.com.", "app.example.com"),
        (b"app.example.com.:80", "app.example.com"),
        (b"127.0.0.1:80", "127.0.0.1"),
        (b"[::1]:80", "[::1]"),
        (b"[2001:DB8::1]", "[2001:db8::1]"),
        (b"a_b.example", "a_b.example"),
    ],
)
def test_hosts(host: bytes, name: str) -> None:
    """A host's name has no port, no trailing dot and is in lower case."""
    assert parse_request(request(b"Host: " + host)).name == name
    assert canonical_name(host) == name


@pytest.mark.parametrize(
    ("line", "target"),
    [
        (b"GET http://app.example.com/a?b HTTP/1.1", b"/a?b"),
        (b"GET HTTPS://APP.example.com HTTP/1.1", b"/"),
        (b"GET http://app.example.com?x HTTP/1.1", b"/?x"),
        (b"OPTIONS http://app.example.com HTTP/1.1", b"*"),
        (b"OPTIONS * HTTP/1.1", b"*"),
        (b"GET /a%2Fb;c=d?x=1;y=2&z=3 HTTP/1.1", b"/a%2Fb;c=d?x=1;y=2&z=3"),
        (b"GET //double HTTP/1.1", b"//double"),
    ],
)
def test_targets(line: bytes, target: bytes) -> None:
    """Targets go on byte for byte, absolute form in origin form (spec P10)."""
    assert parse_request(request(HOST, line=line)).target == target


def test_framing() -> None:
    """Length and chunked are understood; chunked in any case."""
    parsed = parse_request(request(HOST, b"Content-Length: 007"))
    assert (parsed.framing, parsed.length_bytes) == (LENGTH, 7)
    parsed = parse_request(request(HOST, b"Transfer-Encoding: Chunked"))
    assert parsed.framing == CHUNKED


@pytest.mark.parametrize(
    ("line", "connection", "close"),
    [
        (b"GET / HTTP/1.1", b"", False),
        (b"GET / HTTP/1.1", b"close", True),
        (b"GET / HTTP/1.1", b"foo, CLOSE", True),
        (b"GET / HTTP/1.1", b"keep-alive", False),
        (b"GET / HTTP/1.0", b"", True),
        (b"GET / HTTP/1.0", b"keep-alive", False),
        (b"GET / HTTP/1.0", b"keep-alive, close", True),
    ],
)
def test_whether_the_client_closes(line: bytes, connection: bytes, close: bool) -> None:
    """HTTP/1.1 stays open unless it says close, HTTP/1.0 the other way round."""
    fields = [b"Connection: " + connection] if connection else []
    assert parse_request(request(HOST, *fields, line=line)).close is close


def test_hop_by_hop_fields_stop_here() -> None:
    """The fixed list and what Connection names do not go on (RFC 9110 7.6.1)."""
    parsed = parse_request(
        request(
            HOST,
            b"Connection: X-Mine, keep-alive",
            b"Connection: x-other",
            b"X-Mine: 1",
            b"x-OTHER: 2",
            b"X-Stays: 3",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: secret",
            b"TE: gzip",
            b"Trailer: X-Sum",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAMAAABkAAQ",
        )
    )
    assert parsed.fields == [b"X-Stays: 3"]


def test_connection_cannot_take_away_what_matters() -> None:
    """Host, framing and our own fields survive a Connection field that names them."""
    parsed = parse_request(
        request(
            HOST,
            b"Connection: Host, Content-Length, X-Forwarded-For, Transfer-Encoding",
            b"Content-Length: 3",
        )
    )
    rendered = render_request(parsed, b"", b"X-Forwarded-For: 1.2.3.4\r\n")
    assert b"Host: app.example.com\r\n" in rendered
    assert b"Content-Length: 3\r\n" in rendered
    assert b"X-Forwarded-For: 1.2.3.4\r\n" in rendered


def test_te_trailers_goes_on() -> None:
    """Only the word trailers of TE goes on."""
    parsed = parse_request(request(HOST, b"TE: gzip, Trailers", b"TE: deflate"))
    assert parsed.fields == [b"TE: trailers"]
    connection = b"Connection: TE, X-A"
    parsed = parse_request(request(HOST, b"X-A: b", b"TE: trailers", connection))
    assert parsed.fields == [b"TE: trailers"]


@pytest.mark.parametrize(
    "name",
    [
        b"Forwarded",
        b"X-Forwarded-For",
        b"X-Forwarded-Host",
        b"X-Forwarded-Proto",
        b"X-Forwarded-Port",
        b"X-Forwarded-Ssl",
        b"X-Forwarded-Prefix",
        b"X-Forwarded-Server",
        b"x-forwarded-anything",
        b"X-Original-URL",
        b"X-Rewrite-URL",
        b"X-Real-IP",
        b"X-Client-IP",
        b"X-Cluster-Client-IP",
        b"True-Client-IP",
        b"CF-Connecting-IP",
        b"X_Forwarded_For",
        b"X_Real_IP",
        b"X-Real_IP",
        b"Content_Length",
        b"Transfer_Encoding",
        b"x_forwarded_port",
        b"X-Request-ID",
    ],
)
def test_forged_fields_do_not_reach_the_app(name: bytes) -> None:
    """What names the client or the way here is taken out (spec P9)."""
    parsed = parse_request(request(HOST, name + b": evil", b"X-Fine_Name: 1"))
    assert parsed.fields == [b"X-Fine_Name: 1"]


def test_user_agent_with_an_underscore_is_just_a_field() -> None:
    """A name that merely looks like User-Agent goes on."""
    assert parse_request(request(HOST, b"User_Agent: x")).fields == [b"User_Agent: x"]


def test_forwarding_fields_are_remembered() -> None:
    """Their values are there for a peer that is trusted."""
    parsed = parse_request(
        request(
            HOST,
            b"X-Forwarded-For: 1.1.1.1",
            b"X-Forwarded-For: 2.2.2.2, 3.3.3.3",
            b"X-Forwarded-Host: front.example",
            b"X-Forwarded-Proto: HTTPS",
        )
    )
    assert parsed.forwarded_for == b"1.1.1.1, 2.2.2.2, 3.3.3.3"
    assert parsed.forwarded_host == b"front.example"
    assert parsed.forwarded_proto == b"https"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"abc-123", b"abc-123"),
        (b"", b""),
        (b"a b", b""),
        (b"a" * 129, b""),
        (b'"quoted"', b""),
    ],
)
def test_request_ids(value: bytes, kept: bytes) -> None:
    """A plausible request id is taken, anything else is not."""
    parsed = parse_request(request(HOST, b"X-Request-ID: " + value))
    assert parsed.request_id == kept
    assert parsed.fields == []


TRACE = b"00-" + b"4" * 32 + b"-" + b"7" * 16 + b"-01"


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([TRACE], TRACE),
        ([TRACE.replace(b"00-", b"ff-", 1)], b""),
        ([TRACE.replace(b"4", b"0")], b""),
        ([TRACE.replace(b"7", b"0")], b""),
        ([TRACE + b"-more"], b""),
        ([TRACE, TRACE], b""),
        ([b"mine"], b""),
    ],
)
def test_traces(values: list[bytes], kept: bytes) -> None:
    """A valid traceparent goes on; else the trace begins anew (W3C Trace Context)."""
    parsed = parse_request(request(HOST, *(b"traceparent: " + one for one in values)))
    assert parsed.traceparent == kept
    assert parsed.fields == []


@pytest.mark.parametrize(
    ("fields", "upgrade"),
    [
        ([b"Connection: Upgrade", b"Upgrade: WebSocket"], b"websocket"),
        ([b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"], b"websocket"),
        ([b"Upgrade: websocket"], b""),
        ([b"Connection: upgrade"], b""),
        ([b"Connection: Upgrade", b"Upgrade: h2c"], b"h2c"),
        ([b"Connection: Upgrade", b"Upgrade: a", b"Upgrade: b"], b"a,b"),
        (
            [b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 1"],
            b"",
        ),
        (
            [
                b"Connection: Upgrade",
                b"Upgrade: websocket",
                b"Transfer-Encoding: chunked",
            ],
            b"",
        ),
    ],
)
def test_upgrades(fields: list[bytes], upgrade: bytes) -> None:
    """An upgrade counts only if Connection names it and there is no body."""
    assert parse_request(request(HOST, *fields)).upgrade == upgrade


def test_no_upgrade_on_http10() -> None:
    """HTTP/1.0 knows no upgrade (RFC 9110 7.8)."""
    block = request(
        HOST,
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        line=b"GET / HTTP/1.0",
    )
    assert parse_request(block).upgrade == b""


def test_expectations() -> None:
    """100-continue goes on from HTTP/1.1 and is ignored from HTTP/1.0."""
    parsed = parse_request(request(HOST, b"Expect: 100-Continue"))
    assert b"\r\nExpect: 100-continue\r\n" in render_request(parsed, b"", b"")
    old = request(HOST, b"Expect: 100-continue", line=b"GET / HTTP/1.0")
    assert b"Expect" not in render_request(parse_request(old), b"", b"")


def test_rendering() -> None:
    """The head that goes on is written from the parsed form."""
    parsed = parse_request(
        request(
            b"X-A:1",
            b"Host:   app.example.com ",
            b"Content-Length:  05",
            line=b"POST http://app.example.com/x HTTP/1.1",
        )
    )
    assert render_request(parsed, b"", b"X-Request-ID: 1\r\n") == (
        b"POST /x HTTP/1.1\r\nHost: app.example.com\r\nX-A:1\r\n"
        b"Content-Length: 5\r\nX-Request-ID: 1\r\n\r\n"
    )
    parsed = parse_request(request(HOST, b"Transfer-Encoding: CHUNKED"))
    assert render_request(parsed, b"websocket", b"") == (
        b"GET / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n"
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )


# Collecting heads.


def read(reader: HeadReader, pieces: list[bytes]) -> list[bytes]:
    """Return the blocks that come out, as a connection would take them."""
    blocks = []
    for piece in pieces:
        data = piece
        while data:
            block = reader.take(data)
            if block is None:
                break
            blocks.append(block)
            data, reader.rest = reader.rest, b""
    return blocks


@given(st.lists(st.integers(1, 120), max_size=10))
def test_heads_whatever_the_split(cuts: list[int]) -> None:
    """Any split of the bytes gives the same heads, empty lines between included."""
    stream = (
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n"
    )
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert read(HeadReader(of_requests=True), pieces) == [
        b"GET / HTTP/1.1\r\nHost: a",
        b"GET /2 HTTP/1.1\r\nHost: b",
    ]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (b"\nGET / HTTP/1.1\r\n", 400),
        (b"\r\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT_BYTES, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * HEAD_LIMIT_BYTES + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * HEAD_LIMIT_BYTES, 414),
        (b"GET /" + b"a" * HEAD_LIMIT_BYTES + b" HTTP/1.1\r\n\r\n", 414),
    ],
)
def test_a_head_that_cannot_become_right(data: bytes, status: int) -> None:
    """Bare LF and too much are refused before the head is complete."""
    with pytest.raises(BadHead) as caught:
        HeadReader(of_requests=True).take(data)
    assert caught.value.status == status


@pytest.mark.parametrize(
    "data", [b"\r\n\r\n", b"HTTP/1.1 200 OK\n\n", b"H" * (HEAD_LIMIT_BYTES + 1)]
)
def test_an_answer_that_cannot_become_right(data: bytes) -> None:
    """The same for answers, always as 502."""
    with pytest.raises(BadHead) as caught:
        HeadReader(of_requests=False).take(data)
    assert caught.value.status == 502


def test_a_reader_knows_whether_it_waits() -> None:
    """A head that has begun is told from none."""
    reader = HeadReader(of_requests=True)
    assert not reader.waiting
    reader.take(b"GET")
    assert reader.waiting


@given(st.binary(max_size=300))
def test_any_bytes_are_either_a_head_or_refused(data: bytes) -> None:
    """Nothing but L{BadHead} comes out of garbage."""
    with suppress(BadHead):
        parse_request(data)


def test_a_new_head_is_empty() -> None:
    """A head without fields has no surprises."""
    assert RequestHead(b"GET", b"/", True).close


def test_names_of_hosts_are_remembered_up_to_a_limit() -> None:
    """Many hosts do not fill the memory."""
    for number in range(5000):
        parse_request(request(b"Host: a%d.example" % number))
    assert len(head._names) <= head._NAMES_LIMIT
    assert parse_request(request(b"Host: a1.example")).name == "a1.example"


@pytest.mark.parametrize("field", [b"Cookie: a=b", b"Authorization: Basic eA=="])
def test_secrets_of_clients_go_on_and_are_not_remembered(field: bytes) -> None:
    """The app gets them; what is kept of fields met before has none of them."""
    IN_REQUESTS.kept.clear()
    parsed = parse_request(request(HOST, b"Accept: */*", field))
    assert parsed.fields == [b"Accept: */*", field]
    assert list(IN_REQUESTS.kept) == [b"Accept: */*"]
