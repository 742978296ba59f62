"""What C{model.certificate} holds, and does not show."""

from __future__ import annotations

from datetime import UTC, datetime

from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import DomainName

NOW = datetime(2026, 11, 24, tzinfo=UTC)
NAME = DomainName("shop.example.com")


def test_key_is_never_shown() -> None:
    """Neither by itself nor inside of other values."""
    one = Certificate(NAME, frozenset({NAME}), b"chain", Secret(b"key"), NOW, NOW)
    shown = Challenge(ChallengeKind.TLS_ALPN_01, NAME, "token", "token.print", one)
    for value in (one.key, one, shown, (one,)):
        assert "***" in repr(value)
        assert "b'key'" not in repr(value)


def test_equal_bytes_are_equal_secrets() -> None:
    """A certificate that has not changed is not published again."""
    assert Secret(b"key") == Secret(b"key")
    assert Secret(b"key") != Secret(b"other")


def test_kinds_are_called_as_the_ca_calls_them() -> None:
    """RFC 8555 section 8, RFC 8737."""
    assert [kind.value for kind in ChallengeKind] == [
        "http-01",
        "tls-alpn-01",
        "dns-01",
    ]
