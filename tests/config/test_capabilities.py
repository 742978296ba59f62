from __future__ import annotations

import pytest
from attrs import evolve

from haloy.config.app_file import (
    BuildArg,
    BuildConfig,
    CommandSource,
    DomainEntry,
    FileSource,
    ImageConfig,
    ProxyEntry,
    ResourcesEntry,
    SecretProviders,
    SopsSource,
    Target,
    ValueSource,
)
from haloy.config.capabilities import (
    needed,
    require,
    sendable,
    storable_providers,
    usable_providers,
    without_unknown,
)
from haloy.errors import InvalidValue

PLAIN = Target(
    name="a",
    server="s",
    deployment_strategy="rolling",
    domains=(DomainEntry("a.com", ("b.com",)),),
)
FULL = evolve(
    PLAIN,
    deployment_strategy="blue_green",
    domains=(DomainEntry("a.com"), DomainEntry("*.a.com")),
    resources=ResourcesEntry(memory="1GB"),
    proxy=ProxyEntry(max_body="1MB", protocol="h2c"),
    health_check_timeout="2m",
)
ALL = {"blue-green", "wildcard-domains", "resources", "proxy-options", "h2c"}


def test_what_every_server_knows_needs_nothing() -> None:
    """A target in the Go client's words goes to any server."""
    assert needed(PLAIN) == ()
    require(PLAIN, ())


def test_each_new_key_has_its_capability() -> None:
    """The keys are named as people write them."""
    assert needed(FULL) == (
        ("blue-green", "deployment_strategy"),
        ("wildcard-domains", "domains[1].domain"),
        ("resources", "resources"),
        ("proxy-options", "proxy"),
        ("h2c", "proxy.protocol"),
        ("proxy-options", "health_check_timeout"),
    )
    require(FULL, ALL)


def test_a_question_by_grpc_needs_a_server_that_can_ask_it() -> None:
    """A path needs nothing."""
    asked = evolve(PLAIN, health_check_path="grpc:shop.Orders")
    assert needed(asked) == (("h2c", "health_check_path"),)
    assert needed(evolve(PLAIN, health_check_path="/grpc")) == ()


@pytest.mark.parametrize("missing", sorted(ALL))
def test_a_server_that_does_not_know_a_key_is_not_sent_it(missing: str) -> None:
    """CLI section 9, point 29: too old a daemon is told before anything happens."""
    with pytest.raises(InvalidValue, match=missing):
        require(FULL, ALL - {missing})


def test_what_is_sent_holds_no_token_and_no_build_argument() -> None:
    """CLI section 9, point 5: what a server does not need stays here."""
    build = BuildConfig(push="server", args=(BuildArg("A", "secret"), BuildArg("B")))
    target = evolve(
        PLAIN,
        api_token=ValueSource("t"),
        image_key="k",
        image=ImageConfig("r", build_config=build),
    )
    image = ImageConfig("r", build_config=BuildConfig(push="server"))
    assert sendable(target) == evolve(PLAIN, image=image)
    assert sendable(PLAIN) == PLAIN


def test_providers_that_only_we_know_are_not_stored() -> None:
    """A Go daemon would refuse the request; a rollback takes them from here."""
    sops = {"a": SopsSource("stored")}
    local = SecretProviders(
        sops={"a": SopsSource("local"), "b": SopsSource("local")},
        file={"f": FileSource("x")},
        command={"c": CommandSource(("x",))},
    )
    assert storable_providers(None) is None
    assert storable_providers(SecretProviders(file=local.file)) is None
    assert storable_providers(local) == SecretProviders(sops=local.sops)
    assert usable_providers(SecretProviders(sops=sops), local) == SecretProviders(
        onepassword={},
        sops={"a": SopsSource("stored"), "b": SopsSource("local")},
        file=local.file,
        command=local.command,
    )
    assert usable_providers(None, None) == SecretProviders({}, {})


def test_what_a_server_does_not_know_can_be_left_out() -> None:
    """For requests that do not depend on it."""
    assert without_unknown(FULL, ALL) == FULL
    left = without_unknown(FULL, ())
    assert (left.proxy, left.resources, left.health_check_timeout) == (None, None, None)
