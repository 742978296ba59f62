"""Records of requests."""

from __future__ import annotations

import json

from haloy.proxy.access_log import TARGET_LIMIT, USER_AGENT_LIMIT, record_of, to_json
from haloy.proxy.exchange import Exchange
from haloy.proxy.head import parse_request


def line(target: bytes = b"/", agent: bytes = b"me/1") -> str:
    request = parse_request(
        b"GET %b HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: %b\r\n"
        b"X-Request-ID: id-1" % (target, agent)
    )
    record = record_of(
        request,
        Exchange(request),
        client="192.0.2.1",
        secure=True,
        outcome="done",
        app="app",
        upstream="c0ffee",
        head_s=0.00012345,
        total_s=1.5,
    )
    return to_json(record)


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
