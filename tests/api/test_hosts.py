"""Names by which the API may be asked for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.api.hosts import check_host
from haloy.errors import InvalidValue, Misdirected

SERVED = {"api.example.com"}


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:9922",
        "LocalHost:9922",
        "haloy.localhost",
        "127.0.0.1:9922",
        "10.0.0.5:9922",
        "[::1]:9922",
        "[::1]",
        "api.example.com",
        "API.example.com:443",
        "api.example.com.",
    ],
)
def test_names_that_are_served(host: str) -> None:
    """Loopback's, any address, and the API's domain."""
    check_host([host.encode()], SERVED)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "api.example.com.evil.example.com",
        "localhost.evil.example.com",
        "evillocalhost",
        "127.0.0.1.evil.example.com:9922",
        "",
        ":9922",
        "\xff",
    ],
)
def test_names_that_are_not(host: str) -> None:
    """A page's own name, made to lead to loopback, is refused."""
    with pytest.raises(Misdirected):
        check_host([host.encode("latin-1")], SERVED)


@pytest.mark.parametrize("values", [[], [b"localhost", b"localhost"]])
def test_exactly_one(values: list[bytes]) -> None:
    """None, or two, is no request (RFC 9112 section 3.2)."""
    with pytest.raises(InvalidValue):
        check_host(values, SERVED)


@given(st.binary())
def test_any_bytes(host: bytes) -> None:
    """They are served or refused, nothing else."""
    with suppress(Misdirected):
        check_host([host], SERVED)
