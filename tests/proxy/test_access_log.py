"""Records of requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from haloy.proxy.access_log import (
    TARGET_LIMIT,
    USER_AGENT_LIMIT,
    AccessRecord,
    record_of,
    redacted,
    to_combined,
    to_json,
)
from haloy.proxy.exchange import Exchange
from haloy.proxy.head import parse_request


def line(target: bytes = b"/", agent: bytes = b"me/1") -> str:
    return to_json(record(target, agent))


def record(target: bytes = b"/", agent: bytes = b"me/1") -> AccessRecord:
    request = parse_request(
        b"GET %b HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: %b\r\n"
        b"X-Request-ID: id-1" % (target, agent)
    )
    return record_of(
        request,
        Exchange(request),
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


def test_a_record_as_json() -> None:
    """Every field is there under its name, in the order of the record."""
    assert json.loads(line()) == {
        "request_id": "id-1",
        "client": "192.0.2.1",
        "method": "GET",
        "host": "app.example.com",
        "target": "/",
        "protocol": "HTTP/1.1",
        "secure": True,
        "status": 0,
        "outcome": "done",
        "app": "app",
        "upstream": "c0ffee",
        "bytes_in": 0,
        "bytes_out": 0,
        "head_s": 0.000123,
        "total_s": 1.5,
        "user_agent": "me/1",
        "tls": "TLSv1.3",
        "traceparent": "",
    }


def test_what_a_client_chooses_is_quoted() -> None:
    """It cannot break out of its field or its line (spec P21)."""
    text = line(b'/"\\<>', b'"\t\\\xe4')
    assert "\n" not in text
    parsed = json.loads(text)
    assert parsed["target"] == '/"\\<>'
    assert parsed["user_agent"] == '"\t\\\xe4'


def test_what_a_client_makes_long_is_cut() -> None:
    """A long target or user agent does not fill the log (spec P21)."""
    parsed = json.loads(line(b"/" + b"a" * 8000, b"b" * 60000))
    assert len(parsed["target"]) == TARGET_LIMIT
    assert len(parsed["user_agent"]) == USER_AGENT_LIMIT


def test_the_time_comes_first() -> None:
    """A line of a file says when; one that is passed on need not."""
    text = to_json(record(), "2026-11-24T10:00:00Z")
    assert text.startswith('{"time":"2026-11-24T10:00:00Z","request_id":"id-1",')
    assert json.loads(text)["host"] == "app.example.com"


def test_the_combined_form() -> None:
    """What analysers of Apache's and nginx's logs read."""
    at = datetime(2026, 11, 24, 10, tzinfo=UTC)
    assert to_combined(record(b"/a?b=1"), at) == (
        '192.0.2.1 - - [24/Nov/2026:10:00:00 +0000] "GET /a?b=1 HTTP/1.1" '
        '0 0 "-" "me/1"'
    )
    assert to_combined(record(agent=b'x"y')._replace(method=""), at).endswith(
        '"-" 0 0 "-" "x\\"y"'
    )


def test_what_is_left_out() -> None:
    """Of a query its being there, of an address its network."""
    seen = redacted(record(b"/a?token=1"), ("query", "client", "user_agent"))
    assert (seen.target, seen.client, seen.user_agent) == ("/a?***", "192.0.2.0", "")
    assert redacted(record(), ("query",)) == record()
    elsewhere = record()._replace(client="2001:db8:1:2::3")
    assert redacted(elsewhere, ("client",)).client == "2001:db8:1::"
    assert redacted(record()._replace(client="unknown"), ("client",)).client == "-"


def test_what_always_gets_a_line() -> None:
    """A request that went wrong is never sampled away."""
    good = record()._replace(status=200)
    assert not good.failed
    for bad in ({"status": 404}, {"status": 0}, {"outcome": "cut"}):
        assert good._replace(**bad).failed
