"""Records as lines."""

from __future__ import annotations

import json

import pytest

from haloy.proxy.access_lines import PIECES_LIMIT, CombinedLines, JsonLines
from haloy.proxy.access_log import TARGET_LIMIT, USER_AGENT_LIMIT, AccessRecord
from tests.proxy.test_access_log import record


def line(target: bytes = b"/", agent: bytes = b"me/1") -> str:
    return JsonLines().line(record(target, agent), "now")


def test_a_record_as_json() -> None:
    """Every field is there under its name, in the order of the record."""
    assert json.loads(line()) == {
        "time": "now",
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
    """Who looks for an hour need not read what follows."""
    assert line().startswith('{"time":"now","request_id":"id-1",')


@pytest.mark.parametrize("name", record()._fields)
def test_what_repeats_is_looked_up_by_all_of_it(name: str) -> None:
    """A record that differs in one field is not written as the one before it."""
    first = record()
    value = getattr(first, name)
    changed = not value if isinstance(value, bool) else value * 2 or type(value)(7)
    other = AccessRecord(**{**first._asdict(), name: changed})
    lines = JsonLines()
    once = lines.line(first, "now")
    assert lines.line(other, "now") == JsonLines().line(other, "now") != once
    assert lines.line(first, "now") == once


def test_the_memory_is_bounded() -> None:
    """A client that calls itself by ever other names fills none of it."""
    json_lines, combined = JsonLines(), CombinedLines()
    for number in range(PIECES_LIMIT + 1):
        one = record(agent=b"me/%d" % number)
        assert json.loads(json_lines.line(one, "now"))["user_agent"] == f"me/{number}"
        assert combined.line(one, "now").endswith(f'"me/{number}"')
    assert len(json_lines._pieces) == len(combined._agents) == 1


def test_the_combined_form() -> None:
    """What analysers of Apache's and nginx's logs read."""
    lines = CombinedLines()
    at = "24/Nov/2026:10:00:00 +0000"
    for _ in range(2):
        assert lines.line(record(b"/a?b=1"), at) == (
            f'192.0.2.1 - - [{at}] "GET /a?b=1 HTTP/1.1" 0 0 "-" "me/1"'
        )
    nothing = record(agent=b'x"y')._replace(method="")
    assert lines.line(nothing, at).endswith('"-" 0 0 "-" "x\\"y"')
    assert lines.line(nothing._replace(user_agent=""), at).endswith('"-" 0 0 "-" "-"')
