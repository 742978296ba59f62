from __future__ import annotations

import pytest
from attrs.exceptions import FrozenInstanceError

from haloy.model.app import Address, App, Domain, ProxyOptions, Strategy
from haloy.model.names import AppName, DeploymentId, DomainName


def test_values_are_frozen_and_compare_by_content() -> None:
    """Two equal descriptions are one value: a table that did not change is equal."""
    one = App(AppName("a"), DeploymentId("d"), (Domain(DomainName("a.com")),))
    assert one == App(AppName("a"), DeploymentId("d"), (Domain(DomainName("a.com")),))
    assert hash(one.proxy) == hash(ProxyOptions())
    with pytest.raises(FrozenInstanceError):
        one.port = 1  # type: ignore[misc]  # what is tested


def test_addresses_can_be_keys() -> None:
    """Pools are keyed by address."""
    assert {Address("10.0.0.1", 80): 1}[Address("10.0.0.1", 80)] == 1


def test_an_address_in_a_url() -> None:
    """An IPv6 literal has brackets there."""
    assert Address("192.0.2.1", 80).authority == "192.0.2.1:80"
    assert Address("2001:db8::1", 80).authority == "[2001:db8::1]:80"


def test_strategies_are_the_words_of_the_configuration() -> None:
    """The values are what people write."""
    assert {one.value for one in Strategy} == {"rolling", "replace", "blue_green"}
