"""The short way of a plain request does what the general way does, to the byte."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haloy.model.app import Address, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy import splice
from haloy.proxy.balance import Rotation
from haloy.proxy.fast_path import (
    ANSWERS_LIMIT,
    BLOCK_LIMIT_BYTES,
    FastPaths,
    Http1FastRequest,
)
from haloy.proxy.fast_request import Plan
from haloy.proxy.forwarded import parse_networks
from haloy.proxy.head import RequestHead
from haloy.proxy.routes import AppRoute, RouteTable, Upstream, build_table
from haloy.proxy.target import Target
from haloy.proxy.upstream import UpstreamConnection
from tests.proxy.both_ways import FIELDS, GET, OK, both, stage

BLOCKS = [
    FIELDS,
    FIELDS,
    FIELDS,
    b"Host: app.example.com\r\n",
    b"Host: APP.example.com:80\r\nX: y\r\n",
    b"Host: other.example.com\r\n",
    b"Host: app.example.com\r\nX-Request-ID: mine\r\n",
    b"Host: app.example.com\r\nConnection: close\r\n",
    b"Host: app.example.com\r\nConnection: X-A\r\nX-A: b\r\n",
    b"Host: app.example.com\r\nContent-Length: 0\r\n",
    b"Host: app.example.com\r\nX-Forwarded-For: 6.6.6.6\r\nTE: trailers\r\n",
    b"Host: app.example.com\r\nExpect: 100-continue\r\n",
    b"Host: app.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
    b"Host: app.example.com\r\nBad Name: x\r\n",
]
LINES = [
    b"GET / HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n",
    b"GET /a?b=c HTTP/1.1\r\n",
    b"GET /a#b HTTP/1.1\r\n",
    b"GET /\xe4 HTTP/1.1\r\n",
    b"GET  / HTTP/1.1\r\n",
    b"GET / HTTP/1.0\r\n",
    b"GET / HTTP/1.2\r\n",
    b"get / HTTP/1.1\r\n",
    b"HEAD / HTTP/1.1\r\n",
    b"POST / HTTP/1.1\r\n",
    b"GET http://app.example.com/x HTTP/1.1\r\n",
    b"GET /.well-known/acme-challenge/x HTTP/1.1\r\n",
    b"GET /.well-known/acme-challenge HTTP/1.1\r\n",
    b"GET /" + b"a" * 8191 + b" HTTP/1.1\r\n",
    b"GET /" + b"a" * 8192 + b" HTTP/1.1\r\n",
]
ANSWERS = [
    [OK],
    [OK],
    [OK],
    [OK[:-2], OK[-2:]],
    [OK[:20], OK[20:]],
    [OK + b"more"],
    [OK.replace(b"5", b"0")[:-5]],
    [OK.replace(b"OK\r\n", b"OK\r\nSet-Cookie: a=b\r\n")],
    [OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")],
    [OK.replace(b"200 OK", b"404 No")],
    [b"HTTP/1.1 204 No\r\n\r\n"],
    [b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"],
    [b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + OK],
    [b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n", OK],
    [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
    [b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b""],
    [b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx"],
    [b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"],
    [b"nonsense\r\n\r\n"],
    [OK, b""],
    [b""],
    [b"!"],
    [OK[:-2], b"!"],
]
STEPS = st.lists(
    st.tuples(
        st.builds(
            lambda line, block, behind: line + block + b"\r\n" + behind,
            st.sampled_from(LINES),
            st.sampled_from(BLOCKS),
            st.sampled_from([b"", b"", b"", b"\r\n", GET, b"GET /"]),
        ),
        st.sampled_from([0, 0, 0, 3, 30]),
        st.sampled_from(ANSWERS),
    ),
    max_size=6,
)


@settings(max_examples=150)
@given(STEPS, st.sampled_from([1, 2]))
def test_both_ways_are_one(
    steps: list[tuple[bytes, int, list[bytes]]], replicas: int
) -> None:
    """Apps, clients, the log and the counts see no difference, whatever comes."""
    warm = [(GET, 0, [OK])] * 2
    both([*warm, *steps, *warm], replicas)


@pytest.mark.parametrize("answers", ANSWERS, ids=range(len(ANSWERS)))
def test_every_answer_after_every_other(answers: list[bytes]) -> None:
    """What was learned from an answer is never taken for another one's."""
    warm = [(GET, 0, [OK])] * 2
    again = (GET, 0, answers)
    assert both([*warm, again, again, *warm, again, *warm, again]) >= 2


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_every_line_before_a_known_block(line: bytes) -> None:
    """The first line is looked at each time."""
    both([(GET, 0, [OK]), (GET, 0, [OK]), (line + FIELDS + b"\r\n", 0, [OK])])


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_on_connections_that_know_it(block: bytes) -> None:
    """A block is known to all connections of a client, and ends the right ones."""
    warm = [(GET, 0, [OK])] * 2
    again = (LINES[0] + block + b"\r\n", 0, [OK])
    both([*warm, again, again, *warm, again, again])


@pytest.mark.parametrize("replicas", [1, 2, 3])
def test_plain_requests_take_it(replicas: int) -> None:
    """After the first ones all do, on each replica in its turn."""
    assert both([(GET, 0, [OK])] * 12, replicas) == 12 - replicas


def test_a_client_that_comes_back_takes_it_at_once() -> None:
    """The first request of a connection goes as those before it have gone."""
    with stage(fast_paths=True) as one:
        for _ in range(2):
            one.sent(GET)
            one.answer(OK)
        one.downstream.drop()
        one.sent(GET)
        assert one.by_lane == 2
        one.answer(OK)
        assert one.records[-1].status == 200


LAST = GET.replace(b"Cookie", b"Connection: close\r\nCookie")


def test_one_request_a_connection_takes_it() -> None:
    """Who asks for the end with the answer gets both, as on the general way."""
    assert both([(LAST, 0, [OK])] * 5) == 4
    with stage(fast_paths=True) as one:
        for number in range(4):
            one.sent(LAST)
            one.answer(OK)
            assert (one.by_lane, one.downstream.gone) == (number, True)
            seen = one.seen[-1]
            assert isinstance(seen, tuple)
            assert seen[1].endswith(b"hello<end>")
            assert seen[1].count(b"\r\nConnection: close\r\n") == 1


def test_last_answers_are_no_others() -> None:
    """The same answer ends one connection and leaves the other, in any order."""
    first = [(GET, 0, [OK]), (LAST, 0, [OK])]
    assert both([*first, *first, *first[::-1], *first, *first[::-1]]) == 9
    behind = (LAST + GET, 0, [OK])
    assert both([*first, *first, behind]) == 4


def test_a_peer_that_is_trusted_since() -> None:
    """Each of its requests is looked at, whatever was learned of it before."""
    with stage(fast_paths=True) as one:
        for _ in range(2):
            one.sent(GET)
            one.answer(OK)
        assert one.by_lane == 1
        one.switch.networks = parse_networks(["192.0.2.0/24"])
        one.downstream.drop()
        one.sent(GET)
        assert one.by_lane == 1


def test_fields_of_ours() -> None:
    """They are part of what is remembered."""
    options = ProxyOptions(response_headers=(("Server", "none"), ("X-B", "c")))
    assert both([(GET, 0, [OK])] * 4, options=options) == 3


def test_a_new_table_is_learned_anew() -> None:
    """No request goes by what was learned under the one before."""
    with stage(fast_paths=True) as one:
        for _ in range(2):
            one.sent(GET)
            one.answer(OK)
        assert one.by_lane == 1
        one.switch.replace_table(build_table(2, None, [])[0])
        one.sent(GET)
        assert one.records[-1].status == 404


def test_a_table_that_leaves_a_route_leaves_its_plan() -> None:
    """Unless another route takes the name, or an upstream is another of that key."""
    with stage(fast_paths=True) as one:
        for _ in range(2):
            one.sent(GET)
            one.answer(OK)
        (name, route), *_ = one.switch.table.exact.items()
        other = Upstream("other", Address("127.0.0.1", 1))
        beside = AppRoute(AppName("b"), DomainName("b.example.com"), (other,))
        one.switch.replace_table(RouteTable(2, {name: route, "b.example.com": beside}))
        one.sent(GET)
        assert one.by_lane == 2
        one.answer(OK)
        # Back again, after a table without it.
        one.switch.replace_table(RouteTable(3, {"b.example.com": beside}))
        one.switch.replace_table(RouteTable(4, {name: route}))
        one.sent(GET)
        one.answer(OK)
        assert (one.by_lane, one.records[-1].status) == (2, 200)


def test_a_name_of_its_own_comes_before_a_wildcard() -> None:
    """Though the route of the wildcard is as before."""
    with stage(fast_paths=True) as one:
        ((name, route),) = one.switch.table.exact.items()
        one.switch.replace_table(RouteTable(2, {}, {"example.com": route}))
        for _ in range(2):
            one.sent(GET)
            one.answer(OK)
        assert one.by_lane == 1
        nobody = AppRoute(AppName("b"), DomainName(name), ())
        one.switch.replace_table(RouteTable(3, {name: nobody}, {"example.com": route}))
        one.sent(GET)
        assert (one.by_lane, one.records[-1].status) == (1, 503)


@pytest.mark.parametrize("stop", ["stop", "retire"])
def test_the_last_answer_says_so(stop: str) -> None:
    """A stop reaches a request on the short way like any other."""
    with stage(fast_paths=True) as one:
        one.sent(GET)
        one.answer(OK)
        one.sent(GET)
        assert isinstance(one.downstream.driver, Http1FastRequest)
        getattr(one.downstream, stop)()
        one.answer(OK)
        assert b"Connection: close\r\n" in repr(one.seen).encode().replace(
            rb"\r\n", b"\r\n"
        )
        assert one.downstream.gone


def test_a_client_that_leaves() -> None:
    """Its request is over, logged, and its upstream's connection with it."""
    for how in ("close", "late"):
        with stage(fast_paths=True) as one:
            one.sent(GET)
            one.answer(OK)
            one.sent(GET)
            if how == "close":
                one.downstream.drop()
            else:
                one.downstream.expired()
            one.look()
            (pool,) = one.switch.pools.values()
            assert (pool.outstanding, pool.idle) == (0, [])
            assert one.records[-1].outcome == ("gone" if how == "close" else "done")
            assert one.records[-1].status == (0 if how == "close" else 504)


def test_what_is_remembered_is_bounded() -> None:
    """However many heads come."""
    with stage(fast_paths=True) as one:
        fast_paths = one.switch.plain_fast_paths = FastPaths(5)
        for number in range(ANSWERS_LIMIT + 5):
            answer = OK.replace(b"Server: x", b"Server: %d" % number)
            request = GET.replace(b"User-Agent: me", b"User-Agent: %d" % number)
            one.downstream.drop()
            for _ in range(3):
                one.sent(request)
                one.answer(answer)
            one.seen.clear()
            assert 0 < len(fast_paths.plans) <= 5
            assert 0 < len(fast_paths.answers) <= ANSWERS_LIMIT
        # All but the first one, which had to wait for a connection.
        assert one.by_lane == 3 * (ANSWERS_LIMIT + 5) - 1


def test_heads_that_differ_each_time_take_it() -> None:
    """A new cookie and a new ETag are read, and no general machine is made for them."""
    steps = []
    for number in range(6):
        request = GET.replace(b"a=b", b"a=%d" % number)
        answer = OK.replace(b"Server: x", b"ETag: %d\r\nSet-Cookie: a=b" % number)
        steps.append((request, 0, [answer]))
    assert both(steps) == 5
    with stage(fast_paths=True) as one:
        for request, _, answers in steps:
            one.sent(request)
            one.answer(*answers)
        # Nothing of them is kept: none came again.
        fast_paths = one.switch.plain_fast_paths
        assert not fast_paths.plans
        assert not fast_paths.answers


TARGET = Target(
    1,
    "app.example.com",
    AppRoute(
        AppName("app"),
        DomainName("app.example.com"),
        (),
        ProxyOptions(response_headers=(("Server", "none"),)),
    ),
    (),
    Rotation(),
    secure=False,
)
PLAN = Plan(RequestHead(b"GET", b"/", False), TARGET, b"")


@pytest.mark.parametrize(
    ("block", "head", "size_bytes", "remembered"),
    [
        (
            b"HTTP/1.1 200 OK\r\nServer: x\r\nETag: 1\r\nContent-Length: 5",
            b"HTTP/1.1 200 OK\r\nETag: 1\r\nContent-Length: 5\r\nServer: none",
            5,
            True,
        ),
        (
            b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\nKeep-Alive: 1",
            b"HTTP/1.1 304 Same\r\nContent-Length: 5\r\nServer: none",
            0,
            True,
        ),
        (
            b"HTTP/1.1 204 No\r\nSet-Cookie: a=b",
            b"HTTP/1.1 204 No\r\nSet-Cookie: a=b\r\nServer: none",
            0,
            False,
        ),
        (
            b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nX: " + b"y" * BLOCK_LIMIT_BYTES,
            b"HTTP/1.1 404 No\r\nX: %b\r\nContent-Length: 0\r\nServer: none"
            % (b"y" * BLOCK_LIMIT_BYTES),
            0,
            False,
        ),
    ],
    ids=["plain", "without a body", "private", "long"],
)
def test_what_becomes_of_an_answer(
    block: bytes, head: bytes, size_bytes: int, remembered: bool
) -> None:
    """It is written anew, and remembered at its second time if not private or long."""
    fast_paths = FastPaths()
    whole = block + b"\r\n\r\n"
    for _ in range(2):
        assert not fast_paths.answers
        answer = fast_paths.read_answer(PLAN, whole)
        assert answer is not None
        assert (answer.head, answer.size_bytes) == (head + b"\r\n\r\n", size_bytes)
    assert ((PLAN.ours, whole) in fast_paths.answers) is remembered


@pytest.mark.parametrize(
    "block",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1",
        b"HTTP/1.1 103 Hints",
        b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade",
        b"HTTP/1.1 200 OK\r\nContent-Length: x",
        b"nonsense",
    ],
)
def test_an_answer_for_the_general_way(block: bytes) -> None:
    """What ends otherwise than by its length, ends more, or is no answer."""
    fast_paths = FastPaths()
    assert fast_paths.read_answer(PLAN, block + b"\r\n\r\n") is None
    assert not fast_paths.answers


def test_a_long_head_is_not_remembered() -> None:
    """It takes the short way each time by what is read of it."""
    request = GET.replace(b"a=b", b"a=" + b"b" * BLOCK_LIMIT_BYTES)
    with stage(fast_paths=True) as one:
        for _ in range(4):
            one.sent(request)
            one.answer(OK)
        assert one.by_lane == 3
        assert not one.switch.plain_fast_paths.plans


def test_a_name_of_another_handshake() -> None:
    """Who asked for another name in the handshake is looked at each time (421)."""
    with stage(fast_paths=True) as one:
        for _ in range(2):
            one.sent(GET)
            one.answer(OK)
        one.downstream.origin.server_name = "else.example.com"
        one.sent(GET)
        assert one.by_lane == 1
        assert one.records[-1].status == 421


def test_an_upstream_that_took_no_more() -> None:
    """Its connection carries no further request."""
    with stage(fast_paths=True) as one:
        one.sent(GET)
        one.answer(OK)
        one.sent(GET)
        (upstream,) = (each for each in one.turns.readers if each != one.downstream)
        assert isinstance(upstream, UpstreamConnection)
        upstream.broken = True
        one.answer(OK)
        assert one.records[-1].status == 200
        (pool,) = one.switch.pools.values()
        assert (pool.outstanding, pool.idle) == (0, [])


def large(size_bytes: int = 80000) -> bytes:
    """Return an answer whose body is worth a pipe."""
    head = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: %d\r\n\r\n" % size_bytes
    return head + (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]


def let_go_of_pipes() -> None:
    """Have none that waits for its next use."""
    while splice._spare:
        splice._spare.pop().close()


def test_large_answers_are_moved() -> None:
    """When both are known, that is from the fourth one on, and to the byte."""
    let_go_of_pipes()
    assert both([(GET, 0, [large()])] * 3) == 2
    assert not splice._spare
    assert both([(GET, 0, [large()])] * 6) == 5
    assert both([(LAST, 0, [large()])] * 6) == 5
    assert splice._spare


@pytest.mark.parametrize("cut", [10, 60, 3000, 5000, 60000, 79999])
@pytest.mark.parametrize("rest", [True, False])
def test_a_large_answer_in_pieces(cut: int, rest: bool) -> None:
    """What is not there as a whole goes the general way, and so does its end."""
    whole = large()
    for end in (b"", b"!"):
        pieces = [whole[:cut], whole[cut:] if rest else end]
        steps = [(GET, 0, [whole])] * 4
        both([*steps, (GET, 0, pieces), (GET, 0, [whole]), (GET, 0, [end])])


def test_small_after_large() -> None:
    """An answer of another size or kind, or with more behind it, is as always."""
    answers = [OK, large(5000), large(90000), OK.replace(b"x", b"y"), large() + b"+"]
    for answer in answers:
        both([(GET, 0, [one]) for one in [large()] * 4 + [answer, answer]])


def test_a_client_with_no_room_for_a_large_answer() -> None:
    """It gets the answer in its time, and the next one too."""
    with stage(fast_paths=True) as one:
        for _ in range(4):
            one.sent(GET)
            one.answer(large())
        one.downstream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        one.seen.clear()
        for _ in range(2):
            one.sent(GET)
            one.answer(large())
            for _ in range(100):
                one.look()
        got = b"".join(seen[1] for seen in one.seen)  # type: ignore[index]  # a tuple
        assert got.count(large().partition(b"\r\n\r\n")[2]) == 2
        assert [record.bytes_out for record in one.records] == [80000] * 6


def test_a_client_that_left_before_a_large_answer() -> None:
    """Nothing is left behind: neither a pipe nor a connection."""
    with stage(fast_paths=True) as one:
        for _ in range(4):
            one.sent(GET)
            one.answer(large())
        one.sent(GET)
        one.downstream.pause()  # its end is not seen
        one.client.close()
        let_go_of_pipes()
        one.answer(large())
        assert one.downstream.gone
        assert [pipe.inside for pipe in splice._spare] == [0]
        (pool,) = one.switch.pools.values()
        assert pool.outstanding == 0
