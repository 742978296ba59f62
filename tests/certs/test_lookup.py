"""What C{certs.lookup} says about where a name leads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from haloy.certs.lookup import DnsLook, View, nameserver, own_addresses
from haloy.model.names import DomainName
from tests.certs.support import at_once
from tests.certs.test_acme_http import result
from tests.support.dns import NXDOMAIN, SERVFAIL, name_server

SHOP = "shop.example.com"
OWN = frozenset({"198.51.100.2", "10.0.0.5"})


def look(
    name: str,
    *resolvers: str,
    public: tuple[str, ...] = (),
    own: frozenset[str] = frozenset({"8.8.4.4", "10.0.0.5"}),
) -> View:
    here = DnsLook(at_once, resolvers, public, lambda: own)
    return result(here.look(DomainName(name)))


def test_name_that_leads_here_is_nothing_to_talk_about() -> None:
    """By any of its addresses."""
    with name_server({SHOP: ("8.8.4.4", "2001:db8::1")}) as server:
        found = look(SHOP, server)
    assert found == View(("2001:db8::1", "8.8.4.4"))


def test_name_that_leads_elsewhere_is_a_warning_in_plain_words() -> None:
    """It warns and does not block: there may be a CDN."""
    with name_server({SHOP: ("8.8.8.8",)}) as server:
        found = look(SHOP, server)
        behind = look(SHOP, server, own=frozenset({"10.0.0.5"}))
    assert found.problem == ""
    assert found.warning == (
        "shop.example.com points to 8.8.8.8, this server is 8.8.4.4; behind a CDN "
        "that is as it should be, otherwise correct the record"
    )
    assert behind.warning == ""


def test_loopback_and_nothing_at_all_are_told() -> None:
    """An entry for tests that was left in DNS; a name with mail only."""
    with name_server({SHOP: ("127.0.0.1",), "mail.example.com": ()}) as server:
        assert "only this machine" in look(SHOP, server).warning
        assert "no address" in look("mail.example.com", server).warning


def test_name_that_does_not_exist_stops_an_order() -> None:
    """D16: the CA would count it."""
    with name_server({SHOP: NXDOMAIN}) as server:
        found = look(SHOP, server)
    assert found.problem.startswith("shop.example.com does not exist in DNS")
    assert found.addresses == ()


def test_other_trouble_is_left_for_the_ca_to_judge() -> None:
    """Our resolver may be the one that is broken."""
    with name_server({SHOP: SERVFAIL}) as server:
        assert look(SHOP, server) == View()


@pytest.mark.parametrize(
    ("records", "addresses", "problem"),
    [
        ({SHOP: ("8.8.4.4",)}, ("8.8.4.4",), False),
        ({SHOP: NXDOMAIN}, (), True),
        ({SHOP: SERVFAIL}, (), False),
    ],
)
def test_public_view_is_asked_where_ours_knows_nothing(
    monkeypatch: pytest.MonkeyPatch,
    records: dict[str, tuple[str, ...] | str],
    addresses: tuple[str, ...],
    problem: bool,
) -> None:
    """Split DNS, or a machine without a resolver."""
    monkeypatch.setattr("dns.resolver.Resolver.read_resolv_conf", _no_resolver)
    with name_server(records) as server:
        found = look(SHOP, public=(server,))
    assert (found.addresses, bool(found.problem)) == (addresses, problem)


def _no_resolver(resolver: object, path: object) -> None:
    """Stand for an empty resolv.conf."""


@pytest.mark.parametrize(
    ("here", "public", "addresses", "warning", "problem"),
    [
        (("10.0.0.5",), ("8.8.8.8",), ("8.8.8.8",), "points to 8.8.8.8", False),
        (("8.8.8.8",), ("8.8.4.4",), ("8.8.4.4",), "", False),
        (("10.0.0.5",), NXDOMAIN, ("10.0.0.5",), "not in public DNS", False),
        (("8.8.4.4",), SERVFAIL, ("8.8.4.4",), "", False),
        (NXDOMAIN, ("8.8.4.4",), ("8.8.4.4",), "", False),
        (NXDOMAIN, NXDOMAIN, (), "", True),
        (NXDOMAIN, SERVFAIL, (), "", True),
    ],
)
def test_the_world_s_view_counts_where_there_are_two(
    monkeypatch: pytest.MonkeyPatch,
    here: tuple[str, ...] | str,
    public: tuple[str, ...] | str,
    addresses: tuple[str, ...],
    warning: str,
    problem: bool,
) -> None:
    """Split DNS: the CA sees what the world sees; a private CA may see more."""
    with name_server({SHOP: here}) as system, name_server({SHOP: public}) as world:

        def configured(resolver: Any, path: object) -> None:
            resolver.nameservers = [nameserver(system)]

        monkeypatch.setattr("dns.resolver.Resolver.read_resolv_conf", configured)
        found = look(SHOP, public=(world,))
    assert (found.addresses, bool(found.problem)) == (addresses, problem)
    assert warning in found.warning
    assert bool(warning) == bool(found.warning)


def test_wildcard_is_asked_for_without_its_star() -> None:
    """Where it leads is nobody's business before DNS-01."""
    with name_server({"example.com": ("8.8.8.8",)}) as server:
        assert look("*.example.com", server) == View(("8.8.8.8",))


def test_own_addresses_are_read_without_loopback(tmp_path: Path) -> None:
    """From the kernel; none where it does not say."""
    (tmp_path / "fib_trie").write_text(
        "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 198.51.100.2\n"
        "        /32 host LOCAL\n     |-- 198.51.100.255\n        /32 link BROADCAST\n"
        "     |-- 127.0.0.1\n        /32 host LOCAL\n"
        "     |-- 10.0.0.5\n        /32 host LOCAL\n"
    )
    (tmp_path / "if_inet6").write_text(
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe800000000000000000000000000001 02 40 20 80     eth0\n"
        "20010db8000000000000000000000007 02 40 00 80     eth0\n"
    )
    assert own_addresses(tmp_path) == OWN | {"2001:db8::7"}
    assert own_addresses(tmp_path / "none") == frozenset()
    assert all(":" in one or "." in one for one in own_addresses())
