"""Who the client is."""

from __future__ import annotations

import pytest

from haloy.errors import InvalidValue
from haloy.proxy.forwarded import (
    behind,
    client_network,
    fields,
    parse_networks,
    plain_address,
    trusts,
)
from haloy.proxy.head import RequestHead, parse_request

TRUSTED = parse_networks(["10.0.0.0/8", "2001:db8::1"])


def request(*lines: str) -> RequestHead:
    return parse_request(
        "\r\n".join(["GET / HTTP/1.1", "Host: app.example.com", *lines]).encode()
    )


def test_networks() -> None:
    """Addresses and prefixes are both understood."""
    assert trusts(TRUSTED, "10.1.2.3")
    assert trusts(TRUSTED, "2001:db8::1")
    assert not trusts(TRUSTED, "2001:db8::2")
    assert not trusts((), "10.1.2.3")
    with pytest.raises(InvalidValue):
        parse_networks(["nonsense"])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:1:2", "::ffff:1:2"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_addresses(text: str, plain: str) -> None:
    """IPv4 on an IPv6 socket is IPv4."""
    assert plain_address(text) == plain


@pytest.mark.parametrize(
    ("header", "address", "chain"),
    [
        ("192.0.2.1", "192.0.2.1", b"192.0.2.1, 10.0.0.9"),
        ("6.6.6.6, 192.0.2.1", "192.0.2.1", b"192.0.2.1, 10.0.0.9"),
        ("192.0.2.1, 10.0.0.8", "192.0.2.1", b"192.0.2.1, 10.0.0.8, 10.0.0.9"),
        ("evil, 192.0.2.1", "192.0.2.1", b"192.0.2.1, 10.0.0.9"),
        ("192.0.2.1, evil", "10.0.0.9", b"10.0.0.9"),
        ("10.0.0.7, 10.0.0.8", "10.0.0.7", b"10.0.0.7, 10.0.0.8, 10.0.0.9"),
        ("192.0.2.1:4711", "192.0.2.1", b"192.0.2.1, 10.0.0.9"),
        ('"[2001:db8::5]:80"', "2001:db8::5", b"2001:db8::5, 10.0.0.9"),
        ("", "10.0.0.9", b"10.0.0.9"),
    ],
)
def test_the_client_behind_a_trusted_proxy(
    header: str, address: str, chain: bytes
) -> None:
    """It is the last address that no trusted proxy has (spec P9)."""
    client = behind("10.0.0.9", False, request(f"X-Forwarded-For: {header}"), TRUSTED)
    assert (client.address, client.chain) == (address, chain)


def test_scheme_and_host_of_a_trusted_proxy() -> None:
    """Plausible ones are taken over, others are ours."""
    client = behind(
        "10.0.0.9",
        False,
        request("X-Forwarded-Proto: https", "X-Forwarded-Host: front.example"),
        TRUSTED,
    )
    assert (client.proto, client.host) == (b"https", b"front.example")
    client = behind(
        "10.0.0.9",
        True,
        request("X-Forwarded-Proto: gopher", "X-Forwarded-Host: a, b"),
        TRUSTED,
    )
    assert (client.proto, client.host) == (b"https", b"app.example.com")


def test_fields() -> None:
    """These are the fields that an app may believe."""
    assert fields(b"192.0.2.1", b"a.example", b"https", b"id", b"trace") == (
        b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Host: a.example\r\n"
        b"X-Forwarded-Proto: https\r\nX-Request-ID: id\r\n"
        b"traceparent: trace\r\n"
    )


def test_what_one_client_may_have_all_of() -> None:
    """An address of IPv4, sixty-four bits of IPv6."""
    assert client_network("192.0.2.1") == "192.0.2.1"
    assert client_network("2001:db8::1") == "2001:0db8:0000:0000::/64"
    assert client_network("2001:db8::ffff:1:2:3") == client_network("2001:db8::1")
    assert client_network("2001:db8:0:1::1") != client_network("2001:db8::1")
