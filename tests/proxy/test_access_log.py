"""Records of requests."""

from __future__ import annotations

from haloy.proxy.access_log import (
    KINDS_LIMIT,
    AccessRecord,
    Gathering,
    Kinds,
    record_of,
    redacted,
    visit_by,
    visit_of,
)
from haloy.proxy.exchange import Exchange
from haloy.proxy.head import parse_request


def record(target: bytes = b"/", agent: bytes = b"me/1") -> AccessRecord:
    request = parse_request(
        b"GET %b HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: %b\r\n"
        b"X-Request-ID: id-1" % (target, agent)
    )
    visit = visit_by(
        request,
        Exchange(request),
        Kinds(),
        client="192.0.2.1",
        protocol="HTTP/1.1",
        secure=True,
        tls="TLSv1.3",
        outcome="done",
        app="app",
        upstream="c0ffee",
        head_s=0.00012345,
        total_s=1.5,
    )
    return record_of(visit)


def test_what_is_left_out() -> None:
    """Of a query its being there, of an address its network."""
    seen = redacted(record(b"/a?token=1"), ("query", "client", "user_agent"))
    assert (seen.target, seen.client, seen.user_agent) == ("/a?***", "192.0.2.0", "")
    assert redacted(record(), ("query",)) == record()
    elsewhere = record()._replace(client="2001:db8:1:2::3")
    assert redacted(elsewhere, ("client",)).client == "2001:db8:1::"
    assert redacted(record()._replace(client="unknown"), ("client",)).client == "-"


def test_a_visit_is_a_record() -> None:
    """Nothing is lost on the way there and back."""
    one = record(b"/a?b", b"x")._replace(bytes_in=3, bytes_out=4, traceparent="t")
    assert record_of(visit_of(one, Kinds())) == one


def test_kinds_are_made_once() -> None:
    """And the memory is bounded: ever other names of a client fill none of it."""
    kinds = Kinds()
    first = visit_of(record(), kinds)[0]
    assert visit_of(record(b"/other"), kinds)[0] is first
    for number in range(KINDS_LIMIT):
        visit_of(record(agent=b"%d" % number), kinds)
    assert len(kinds._known) == 1


def test_what_always_gets_a_line() -> None:
    """A request that went wrong is never sampled away."""
    good = record()._replace(status=200)
    assert not visit_of(good, Kinds())[0].failed
    for bad in ({"status": 404}, {"status": 0}, {"outcome": "cut"}):
        assert visit_of(good._replace(**bad), Kinds())[0].failed


def test_visits_are_gathered_until_enough_wait() -> None:
    """Who takes them is told of the first one, and when as many as asked for wait."""
    told: list[str] = []
    gathering = Gathering(2, lambda: told.append("begin"), lambda: told.append("full"))
    one = visit_of(record(), Kinds())
    gathering.note(one)
    assert told == ["begin"]
    gathering.note(one)
    assert told == ["begin", "full"]
    assert gathering.take() == [one, one]
    assert gathering.take() == []
    gathering.note(one)
    assert told == ["begin", "full"]
    gathering.begun = False
    gathering.note(one)
    assert told == ["begin", "full", "begin", "full"]


def test_a_share_is_gathered_and_whatever_failed() -> None:
    """Evenly: of a third every third one."""
    gathering = Gathering(1000, lambda: None, lambda: None)
    gathering.percent = 34
    good, bad = (
        visit_of(record()._replace(status=status), Kinds()) for status in (200, 502)
    )
    for _ in range(100):
        gathering.note(good)
    assert len(gathering.take()) == 34
    for _ in range(3):
        gathering.note(bad)
    assert gathering.take() == [bad] * 3
