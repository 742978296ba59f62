"""Records as lines."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from haloy.proxy.access_lines import CombinedLines, JsonLines, Lines, seconds
from haloy.proxy.access_log import (
    TARGET_LIMIT,
    USER_AGENT_LIMIT,
    AccessRecord,
    Kinds,
    redacted,
    visit_of,
)
from tests.proxy.test_access_log import record

KINDS = Kinds()


def written(lines: Lines, one: AccessRecord, time: str = "now") -> str:
    (line,) = lines.text([visit_of(one, KINDS)], time).splitlines()
    return line


def line(target: bytes = b"/", agent: bytes = b"me/1") -> str:
    return written(JsonLines(), record(target, agent))


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


@given(st.floats(0.0, 3.0))
@example(0.0)
@example(0.0000004)
@example(0.9999989)
@example(0.9999995)
@example(1.0)
@example(3600.5)
def test_seconds_have_six_digits_behind_the_point(duration_s: float) -> None:
    """To the nearest millionth."""
    text = seconds(duration_s)
    assert re.fullmatch(r"\d+\.\d{6}", text)
    assert abs(float(text) - duration_s) <= 0.5000001e-6


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
    once = written(lines, first)
    assert written(lines, other) == written(JsonLines(), other) != once
    assert written(lines, first) == once


PARTS = ("query", "client", "user_agent")


@pytest.mark.parametrize("lines", [JsonLines, CombinedLines])
def test_what_is_left_out(lines: type[JsonLines] | type[CombinedLines]) -> None:
    """A form leaves out what L{redacted} leaves out of a record."""
    for target in (b"/a?token=1", b"/a"):
        one = record(target)
        assert written(lines(PARTS), one) == written(lines(), redacted(one, PARTS))
        assert "token" not in written(lines(PARTS), one)


def test_two_forms_of_one_kind() -> None:
    """What one has prepared is not taken for the other's."""
    one = record()
    first, other = JsonLines(), CombinedLines()
    once = [written(first, one), written(other, one)]
    assert [written(first, one), written(other, one)] == once


def test_the_combined_form() -> None:
    """What analysers of Apache's and nginx's logs read."""
    lines = CombinedLines()
    at = "24/Nov/2026:10:00:00 +0000"
    for _ in range(2):
        assert written(lines, record(b"/a?b=1"), at) == (
            f'192.0.2.1 - - [{at}] "GET /a?b=1 HTTP/1.1" 0 0 "-" "me/1"'
        )
    nothing = record(agent=b'x"y')._replace(method="")
    assert written(lines, nothing, at).endswith('"-" 0 0 "-" "x\\"y"')
    assert written(lines, nothing._replace(user_agent=""), at).endswith(
        '"-" 0 0 "-" "-"'
    )
