from __future__ import annotations

import pytest

from haloy.config.app_file import DomainEntry, ProxyEntry, Target
from haloy.config.options import (
    domains,
    health_check,
    health_timeout_s,
    proxy_options,
)
from haloy.errors import InvalidValue
from haloy.model.app import Balance, Domain, HealthCheck, ProxyOptions
from haloy.model.names import DomainName


def test_nothing_said_is_the_default() -> None:
    """An app without a proxy section has the default options."""
    assert proxy_options(None) == proxy_options(ProxyEntry()) == ProxyOptions()


def test_every_key_becomes_its_option() -> None:
    """Times are seconds and sizes bytes."""
    entry = ProxyEntry(
        connect_timeout="250ms",
        response_timeout="2m",
        body_timeout="1m",
        tunnel_idle="2h",
        drain_requests="0s",
        drain_tunnels="10s",
        max_body="10MB",
        max_connections=7,
        hsts="365d",
        headers={"X-B": "2", "X-A": "1"},
        balance="least_outstanding",
    )
    assert proxy_options(entry) == ProxyOptions(
        connect_timeout_s=0.25,
        response_timeout_s=120,
        body_timeout_s=60,
        tunnel_idle_s=7200,
        drain_requests_s=0,
        drain_tunnels_s=10,
        max_body_bytes=10 << 20,
        max_connections=7,
        hsts_max_age_s=31536000,
        response_headers=(("X-A", "1"), ("X-B", "2")),
        balance=Balance.LEAST_OUTSTANDING,
    )


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        (ProxyEntry(connect_timeout="2m"), "proxy.connect_timeout"),
        (ProxyEntry(max_body="0"), "proxy.max_body"),
        (ProxyEntry(max_connections=65536), "proxy.max_connections"),
        (ProxyEntry(hsts="1000d"), "proxy.hsts"),
        (ProxyEntry(balance="ring"), "proxy.balance"),
        (ProxyEntry(headers={"A": ""}), "proxy.headers.A"),
    ],
)
def test_bounds(entry: ProxyEntry, field: str) -> None:
    """An option out of bounds is named by its key."""
    with pytest.raises(InvalidValue) as caught:
        proxy_options(entry)
    assert caught.value.field == field


def test_domains_given_twice_are_one() -> None:
    """Names are lower-cased; the aliases of both entries count, each once."""
    target = Target(
        domains=(
            DomainEntry("A.com", ("www.a.com", "WWW.a.com")),
            DomainEntry("*.b.com"),
            DomainEntry("a.com", ("m.a.com",)),
        )
    )
    assert domains(target) == (
        Domain(DomainName("a.com"), (DomainName("www.a.com"), DomainName("m.a.com"))),
        Domain(DomainName("*.b.com")),
    )


def test_a_domain_has_no_more_aliases_than_a_certificate_holds() -> None:
    """One certificate carries the domain and its aliases, 100 names together."""
    aliases = tuple(f"a{i}.a.com" for i in range(100))
    assert domains(Target(domains=(DomainEntry("a.com", aliases[:99]),)))
    entries = (DomainEntry("a.com", aliases[:50]), DomainEntry("a.com", aliases[50:]))
    with pytest.raises(InvalidValue) as caught:
        domains(Target(domains=entries))
    assert caught.value.field == "domains[1].aliases"


def test_health() -> None:
    """Path, readiness and the time that a new replica has."""
    target = Target(
        health_check_path="/h", min_ready_seconds=3, health_check_timeout="2m"
    )
    assert health_check(target) == HealthCheck("/h", 3)
    assert health_timeout_s(target) == 120
    assert health_check(Target()) == HealthCheck()
    assert health_timeout_s(Target()) == 60
