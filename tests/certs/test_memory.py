"""What C{certs.memory} keeps."""

from __future__ import annotations

from datetime import timedelta

import pytest

from haloy.certs.memory import (
    Attempt,
    Failures,
    Memory,
    Window,
    from_json,
    to_json,
)
from haloy.errors import CertificateError
from haloy.model.names import DomainName
from tests.support.certificates import DAY, NOW

NAME = DomainName("shop.example.com")
FAILED = Failures(
    3,
    NOW,
    "no \N{SNOWMAN} answer",
    (NAME, DomainName("www.shop.example.com")),
    NOW + DAY,
    "validation",
    "unauthorized",
    "https://ca.example/dir",
    ("192.0.2.1",),
)
ATTEMPT = Attempt(NOW, (NAME,), "https://ca.example/dir", issued=True)
FULL = (
    Memory()
    .failed(NAME, FAILED)
    .suggested(NAME, Window("ab", NOW, NOW + DAY, NOW, NOW + DAY))
    .pausing("https://ca.example/dir", NOW + DAY)
    .attempted(ATTEMPT)
)


def test_everything_is_read_as_it_was_written() -> None:
    """A restart changes nothing."""
    assert from_json(to_json(FULL)) == FULL
    assert from_json(to_json(Memory())) == Memory()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[1]",
        "null",
        "{",
        '{"failures": 3}',
        '{"failures": {"a.example.com": {}}}',
        '{"paused": {"ca": "tomorrow"}}',
        '{"paused": {"ca": "2026-11-24T12:00:00"}}',
        '{"attempts": [{"at": "2026-11-24T12:00:00", "names": [], "directory": "", '
        '"issued": true}]}',
        to_json(FULL).replace("+00:00", ""),
    ],
)
def test_anything_else_is_refused_by_one_error(text: str) -> None:
    """The file can then be moved aside; an instant without offset breaks sums."""
    with pytest.raises(CertificateError):
        from_json(text)


def test_old_attempts_are_forgotten() -> None:
    """The longest limit is a week."""
    later = Attempt(NOW + timedelta(days=8), (NAME,), "ca", issued=False)
    assert Memory().attempted(ATTEMPT).attempted(later).attempts == (later,)


def test_forgiving_forgets_the_failures_of_one_name() -> None:
    """And of no other."""
    other = DomainName("other.example.com")
    memory = Memory().failed(NAME, FAILED).failed(other, FAILED)
    assert set(memory.forgiven(NAME).failures) == {other}
    assert memory.forgiven(DomainName("unknown.example.com")) is memory


def test_an_order_can_be_forgotten() -> None:
    """One of several that look alike; one that is not there is no trouble."""
    memory = Memory().attempted(ATTEMPT).attempted(ATTEMPT)
    assert memory.without(ATTEMPT).attempts == (ATTEMPT,)
    assert Memory().without(ATTEMPT) == Memory()
