"""Paths of routes and URLs of servers."""

from __future__ import annotations

import pytest

from haloy.api.paths import route, wire_url
from haloy.errors import InvalidValue


def test_names_are_quoted() -> None:
    """A name is one segment, whatever is in it."""
    assert route("status", "a/b c?é") == "/v1/status/a%2Fb%20c%3F%C3%A9"


def test_an_empty_name_is_no_other_route() -> None:
    """The list would be asked for in place of one, or a route that is not there."""
    with pytest.raises(InvalidValue, match="certificates: a name is empty"):
        route("certificates", "")


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("http://localhost:9922", b"http://localhost:9922"),
        ("https://API.Example.com", b"https://api.example.com"),
        ("https://[::1]:8443", b"https://[::1]:8443"),
        ("https://Bücher.example:444", b"https://xn--bcher-kva.example:444"),
        ("https://bücher.example", b"https://xn--bcher-kva.example"),
    ],
)
def test_a_server_is_named_in_ascii(written: str, sent: bytes) -> None:
    """As DNS, TLS and Host want it."""
    assert wire_url(written) == sent


def test_a_name_that_no_server_has() -> None:
    """It is said before anything is sent."""
    with pytest.raises(InvalidValue, match="is not a server"):
        wire_url("https://bü..example")
