"""Header lists as requests: one case for each rule, and what passes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloy.proxy.body import CHUNKED, LENGTH, NO_BODY
from haloy.proxy.fields import BadHead
from haloy.proxy.head import RequestHead, parse_request, render_request
from haloy.proxy.http2 import head as module
from haloy.proxy.http2.decoder import HeaderList, Rest
from haloy.proxy.http2.head import Malformed, trailer_lines
from haloy.proxy.http2.hpack import Field

BASE = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":path", b"/a?b"),
    (b":authority", b"App.Example.com:443"),
]


def request_of(fields: list[Field] | None, *, end: bool) -> RequestHead:
    """Return the request that a whole list makes."""
    if fields is None:
        return module.request_of(None, end=end)
    start = 0
    while start < len(fields) and fields[start][0][:1] == b":":
        start += 1
    parts = HeaderList(fields[:start], Rest(fields[start:], 0))
    head = module.request_of(parts, end=end)
    again = module.request_of(parts, end=end)
    # What is remembered means the same once more.
    assert render_request(again, b"", b"") == render_request(head, b"", b"")
    return again


def changed(**parts: bytes | None) -> list[Field]:
    """Return the usual pseudo-header fields with some changed or left out."""
    found = dict(BASE)
    for name, value in parts.items():
        if value is None:
            del found[b":" + name.encode()]
        else:
            found[b":" + name.encode()] = value
    return list(found.items())


def test_a_request_is_what_it_would_be_in_http_1() -> None:
    """Fields in order, cookies in one, connection and client facts left out."""
    head = request_of(
        [
            *BASE,
            (b"user-agent", b"test"),
            (b"cookie", b""),  # no first piece
            (b"cookie", b"a=1"),
            (b"accept", b"*/*"),
            (b"cookie", b"b=2"),
            (b"authorization", b"Basic eA=="),
            (b"te", b"trailers"),
            (b"x-real-ip", b"1.2.3.4"),
            (b"x-forwarded-for", b"9.9.9.9"),
            (b"x-forwarded-proto", b"HTTP"),
            (b"x-forwarded-host", b"other"),
            (b"x-request-id", b"abc-1"),
        ],
        end=True,
    )
    assert render_request(head, b"", b"X: y\r\n") == (
        b"GET /a?b HTTP/1.1\r\nHost: App.Example.com:443\r\nuser-agent: test\r\n"
        b"accept: */*\r\nauthorization: Basic eA==\r\nTE: trailers\r\n"
        b"Cookie: a=1; b=2\r\nX: y\r\n\r\n"
    )
    assert head.name == "app.example.com"
    assert head.user_agent == b"test"
    assert head.request_id == b"abc-1"
    assert (head.forwarded_for, head.forwarded_proto) == (b"9.9.9.9", b"http")
    assert head.framing == NO_BODY


def test_bodies_have_a_length_or_are_chunked() -> None:
    """As the fields and the end of the stream say."""
    post = changed(method=b"POST")
    known = request_of([*post, (b"content-length", b"10")], end=False)
    assert (known.framing, known.length_bytes) == (LENGTH, 10)
    assert request_of(post, end=False).framing == CHUNKED
    empty = request_of([*post, (b"content-length", b"0")], end=True)
    assert (empty.framing, empty.length_bytes) == (LENGTH, 0)
    waits = request_of([*post, (b"expect", b"100-Continue")], end=False)
    assert waits.expect
    assert not request_of([*post, (b"expect", b"100-continue")], end=True).expect


def test_a_host_may_stand_for_the_authority() -> None:
    """Or beside it when both are the same."""
    alone = request_of([*changed(authority=None), (b"host", b"a.example")], end=True)
    assert alone.host == b"a.example"
    both = request_of([*BASE, (b"host", b"app.example.com:443")], end=True)
    assert both.host == b"App.Example.com:443"
    star = request_of(changed(method=b"OPTIONS", path=b"*"), end=True)
    assert star.target == b"*"


MALFORMED: dict[str, tuple[list[Field], bool]] = {
    "no method": (changed(method=None), True),
    "no path": (changed(path=None), True),
    "an empty path": (changed(path=b""), True),
    "a path that is no path": (changed(path=b"a"), True),
    "a star of GET": (changed(path=b"*"), True),
    "no scheme": (changed(scheme=None), True),
    "a method that is no token": (changed(method=b"GE T"), True),
    "a method with a line end": (changed(method=b"GET\r\nX: y"), True),
    "method twice": ([BASE[0], *BASE], True),
    "an unknown pseudo-header": ([*BASE, (b":what", b"1")], True),
    "extended CONNECT": (
        [*changed(method=b"CONNECT"), (b":protocol", b"websocket")],
        False,
    ),
    "a pseudo-header of answers": ([*BASE, (b":status", b"200")], True),
    "a pseudo-header after a field": (
        [*BASE[:3], (b"accept", b"*/*"), BASE[3]],
        True,
    ),
    "upper case": ([*BASE, (b"Accept", b"*/*")], True),
    "a name with a blank": ([*BASE, (b"a b", b"1")], True),
    "a name with a colon": ([*BASE, (b"a:b", b"1")], True),
    "an empty name": ([*BASE, (b"", b"1")], True),
    "a name with a line end": ([*BASE, (b"a\r\nb", b"1")], True),
    "CR in a value": ([*BASE, (b"a", b"1\r2")], True),
    "LF in a value": ([*BASE, (b"a", b"1\n2")], True),
    "NUL in a value": ([*BASE, (b"a", b"1\0")], True),
    "DEL in a value": ([*BASE, (b"a", b"1\x7f")], True),
    "a blank before a value": ([*BASE, (b"a", b" 1")], True),
    "a tab after a value": ([*BASE, (b"a", b"1\t")], True),
    "connection": ([*BASE, (b"connection", b"close")], True),
    "keep-alive": ([*BASE, (b"keep-alive", b"1")], True),
    "proxy-connection": ([*BASE, (b"proxy-connection", b"close")], True),
    "transfer-encoding": ([*BASE, (b"transfer-encoding", b"chunked")], False),
    "upgrade": ([*BASE, (b"upgrade", b"websocket")], True),
    "te": ([*BASE, (b"te", b"gzip")], True),
    "another host": ([*BASE, (b"host", b"other.example")], True),
    "host twice": (
        [*changed(authority=None), (b"host", b"a"), (b"host", b"a")],
        True,
    ),
    "two lengths": (
        [*BASE, (b"content-length", b"1"), (b"content-length", b"1")],
        False,
    ),
    "a length that is not a number": ([*BASE, (b"content-length", b"+1")], False),
    "a length without a body": ([*BASE, (b"content-length", b"1")], True),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_requests_reach_nobody(what: str) -> None:
    """Whatever could be read in two ways."""
    fields, end = MALFORMED[what]
    with pytest.raises(Malformed):
        request_of(fields, end=end)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([BASE[3], (b":method", b"CONNECT")], 405),
        (changed(method=b"CONNECT"), 405),
        (changed(method=b"TRACE"), 405),
        (changed(path=b"/" + b"a" * 8192), 414),
        (changed(path=b"/#a"), 400),
        (changed(path=b"/a b"), 400),
        (changed(path=b"/a\r\nb"), 400),
        (changed(path=b"/\xc3\xa4"), 400),
        (changed(authority=b"a b"), 400),
        (changed(authority=b"user@host"), 400),
        (changed(authority=None), 400),
        ([*BASE, (b"content-length", b"1" * 19)], 400),
        ([*BASE, (b"expect", b"magic")], 417),
        ([*BASE, *((b"x-%d" % n, b"1") for n in range(101))], 431),
    ],
)
def test_bad_requests_are_answered(fields: list[Field], status: int) -> None:
    """With the status that HTTP/1.1 gives."""
    with pytest.raises(BadHead) as caught:
        request_of(fields, end=False)
    assert caught.value.status == status


def test_a_list_that_was_too_long_is_answered() -> None:
    """With 431."""
    with pytest.raises(BadHead) as caught:
        request_of(None, end=True)
    assert caught.value.status == 431


def test_what_was_learned_is_bounded_and_holds_no_secrets() -> None:
    """Thousands of fields leave one table."""
    for n in range(5000):
        request_of([*BASE, (b"x-n", b"%d" % n)], end=True)
    request_of([*BASE, (b"cookie", b"secret"), (b"x-long", b"l" * 500)], end=True)
    assert len(module._learned) <= 4096
    assert (b"cookie", b"secret") not in module._learned
    assert not any(name == b"x-long" for name, _ in module._learned)


@pytest.mark.parametrize(
    ("kind", "is_one"),
    [
        (b"application/grpc", True),
        (b"Application/gRPC+proto", True),
        (b"application/grpc; charset=utf-8", True),
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/json", False),
    ],
)
def test_calls_of_grpc_are_known_by_their_type(kind: bytes, is_one: bool) -> None:
    """And by what they ask for; gRPC-Web is ordinary HTTP."""
    asked = [*changed(method=b"POST"), (b"content-type", kind)]
    trailers = (b"te", b"trailers")
    assert module.is_call(request_of([*asked, trailers], end=False)) is is_one
    assert not module.is_call(request_of(asked, end=False))
    fetched = [*BASE, (b"content-type", kind), trailers]
    assert not module.is_call(request_of(fetched, end=True))


def test_trailers_become_lines() -> None:
    """Those that are fields."""
    assert trailer_lines([(b"x-a", b"1"), (b"b\n", b"1"), (b"c", b"\r")]) == [b"x-a: 1"]


text = st.text("abc-_.~/?=&%;,:@!$'()*+ \t\r\n\x00\x7fäé", max_size=20)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    ":method",
                    ":path",
                    ":authority",
                    ":scheme",
                    "host",
                    "cookie",
                    "te",
                    "content-length",
                    "x-a",
                    "connection",
                    "transfer-encoding",
                    "X",
                ]
            )
            | text,
            text
            | st.sampled_from(["GET", "POST", "/", "a.example", "5", "https", "x"]),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_what_passes_is_one_request_for_a_strict_parser(
    fields: list[tuple[str, str]], end: bool
) -> None:
    """What goes up is read by our own HTTP/1.1 parser as what it was."""
    raw = [(n.encode("utf-8"), v.encode("utf-8")) for n, v in fields]
    for complete in (raw, BASE + raw):
        try:
            head = request_of(complete, end=end)
        except (Malformed, BadHead):
            continue
        rendered = render_request(head, b"", b"")
        assert rendered.endswith(b"\r\n\r\n")
        assert rendered.index(b"\r\n\r\n") == len(rendered) - 4
        again = parse_request(rendered[:-4])
        assert (again.method, again.target, again.name) == (
            head.method,
            head.target,
            head.name,
        )
        assert (again.framing, again.length_bytes) == (head.framing, head.length_bytes)
        assert again.fields == head.fields
