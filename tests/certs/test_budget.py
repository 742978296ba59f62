"""What C{certs.budget} allows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from haloy.certs.budget import Limits, free_at, limits_of, registered
from haloy.certs.memory import Attempt
from haloy.model.names import DomainName
from tests.support.certificates import DAY, NOW

CA = "https://ca.example/dir"
SHOP = (DomainName("shop.example.com"),)
HOUR = timedelta(hours=1)


def attempts(count: int, *names: str, ago: timedelta, issued: bool) -> list[Attempt]:
    wanted = tuple(DomainName(name) for name in names)
    return [Attempt(NOW - ago, wanted, CA, issued) for _ in range(count)]


def free(
    made: Sequence[Attempt], limits: Limits, *, renewal: bool = False, ca: str = CA
) -> datetime:
    return free_at(made, SHOP, ca, limits, NOW, renewal=renewal)


def test_the_same_names_are_not_ordered_again_and_again() -> None:
    """Let's Encrypt: five a week for exactly the same names."""
    made = attempts(4, *SHOP, ago=2 * DAY, issued=True)
    assert free(made, Limits()) == NOW + 5 * DAY
    assert free(made[:3], Limits()) == NOW
    assert free(attempts(4, *SHOP, ago=8 * DAY, issued=True), Limits()) == NOW


def test_failed_validations_of_a_name_are_counted_in_the_hour() -> None:
    """Let's Encrypt: five; also in orders for other names beside it."""
    made = attempts(4, *SHOP, "b.example.com", ago=HOUR / 2, issued=False)
    assert free(made, Limits()) == NOW + HOUR / 2
    others = attempts(4, "b.example.com", ago=HOUR / 2, issued=False)
    assert free(others, Limits()) == NOW


def test_orders_of_the_account_are_counted_over_three_hours() -> None:
    """Let's Encrypt: 300."""
    made = [
        *attempts(2, "a.example.org", ago=HOUR, issued=True),
        *attempts(1, "b.example.org", ago=2 * HOUR, issued=False),
    ]
    assert free(made, Limits(per_account_3h=3)) == NOW + HOUR
    assert free(made, Limits(per_account_3h=4)) == NOW


def test_new_certificates_of_a_registered_domain_are_counted_in_the_week() -> None:
    """Let's Encrypt: 50; a renewal is none, and renewals do not count."""
    made = attempts(3, "a.example.com", ago=DAY, issued=True)
    limits = Limits(per_domain_week=3, same_names_week=0)
    assert free(made, limits) == NOW + 6 * DAY
    assert free(made, limits, renewal=True) == NOW
    renewed = [Attempt(NOW - DAY, SHOP, CA, issued=True, renewal=True)] * 3
    assert free(renewed, limits) == NOW
    assert free(attempts(3, "a.example.org", ago=DAY, issued=True), limits) == NOW


def test_every_ca_has_limits_of_its_own() -> None:
    """What one counts the other does not know."""
    made = attempts(9, *SHOP, ago=HOUR / 2, issued=False)
    assert free(made, Limits(), ca="https://other.example/dir") == NOW


def test_no_limit_limits_nothing() -> None:
    """For a CA of one's own."""
    made = attempts(99, *SHOP, ago=HOUR / 2, issued=False)
    assert free(made, Limits(0, 0, 0, 0)) == NOW


@pytest.mark.parametrize(
    ("directory", "known"),
    [
        ("https://acme-v02.api.letsencrypt.org/directory", True),
        ("https://letsencrypt.org/directory", True),
        ("https://notletsencrypt.org/directory", False),
        ("https://127.0.0.1:14000/dir", False),
        ("nonsense", False),
    ],
)
def test_limits_are_those_of_the_ca(directory: str, known: bool) -> None:
    """Of others only failures are counted."""
    found = limits_of(directory)
    assert (found == Limits()) is known
    assert found.failed_per_name_hour


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.b.example.com", "example.com"),
        ("*.example.com", "example.com"),
        ("shop.co.uk", "co.uk"),
        ("localhost", "localhost"),
    ],
)
def test_registered_domain_is_never_laxer_than_the_ca(name: str, domain: str) -> None:
    """Two labels: without the list of public suffixes, the stricter reading."""
    assert registered(DomainName(name)) == domain
