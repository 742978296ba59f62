"""What C{daemon.intents} decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.daemon.intents import Intents
from haloy.errors import Conflict
from haloy.model.app import Address, App, Domain, ProxyOptions, Replica
from haloy.model.names import AppName, DeploymentId, DomainName
from haloy.proxy.routes import RoutedApp


def domain(name: str, *aliases: str) -> Domain:
    return Domain(DomainName(name), tuple(DomainName(alias) for alias in aliases))


def app(name: str, *domains: Domain, hsts: int | None = None) -> App:
    return App(
        name=AppName(name),
        deployment=DeploymentId("01aaaaaa"),
        domains=domains,
        proxy=ProxyOptions(hsts_max_age_s=hsts),
    )


def replica(name: str, container: str, address: str | None = "172.18.0.2") -> Replica:
    return Replica(
        container_id=container,
        name=f"{name}-{container}",
        app=AppName(name),
        deployment=DeploymentId("01aaaaaa"),
        number=1,
        address=None if address is None else Address(address, 8080),
        managed=True,
        running=True,
    )


def serving(intents: Intents, name: str) -> Sequence[str]:
    found = {one.name: one for one in intents.routed()}
    return [upstream.key for upstream in found[AppName(name)].upstreams]


SHOP = app("shop", domain("shop.example.com", "www.shop.example.com"))


def test_admitted_replicas_are_routed_in_the_order_they_came() -> None:
    """Admitting twice adds; the newest description of the app wins."""
    intents = Intents().admit(SHOP, [replica("shop", "a")])
    intents = intents.admit(app("shop", hsts=60), [replica("shop", "b")])
    assert serving(intents, "shop") == ["a", "b"]
    assert intents.routed()[0].options.hsts_max_age_s == 60


def test_what_is_the_same_is_the_same_object() -> None:
    """Whoever compares two tables need not look into what has not changed."""
    other = app("other", domain("other.example.com"))
    intents = Intents().admit(SHOP, [replica("shop", "a")])
    intents = intents.admit(other, [replica("other", "b")])
    former = {one.name: one for one in intents.routed()}
    for changed in (
        intents.admit(SHOP, [replica("shop", "a", "172.18.0.9")]),
        intents.admit(SHOP, [replica("shop", "c")]),
        intents.eject("a"),
        intents.admit(app("shop", domain("x.example.com")), []),
        intents.admit(app("shop", *SHOP.domains, hsts=1), []),
    ):
        for shop, same in (changed.routed(former), changed.routed(former, intents)):
            assert (shop, same) == changed.routed()
            assert shop != former[SHOP.name]
            assert same is former[other.name]


OTHER = app("other", domain("other.example.com"))
#: Changes of intents, drawn by their number.
CHANGES: list[Callable[[Intents, str], Intents]] = [
    lambda intents, key: intents.admit(SHOP, [replica("shop", key)]),
    lambda intents, key: intents.admit(OTHER, [replica("other", key)]),
    lambda intents, key: intents.admit(SHOP, [replica("shop", key, None)]),
    lambda intents, key: intents.admit(app("shop", hsts=len(key)), []),
    lambda intents, key: intents.retire([key]),
    lambda intents, key: intents.eject(key),
    lambda intents, key: intents.readmit(key),
    lambda intents, key: intents.forget(OTHER.name),
]


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 7), st.sampled_from("abcd")), max_size=4),
        max_size=8,
    )
)
def test_what_has_changed_is_all_that_is_looked_at(
    rows: list[list[tuple[int, str]]],
) -> None:
    """From one table to the next, whatever happens in between."""
    intents = earlier = Intents()
    former: dict[AppName, RoutedApp] = {}
    for row in rows:
        for number, key in row:
            intents = CHANGES[number](intents, key)
        routed = intents.routed(former, earlier)
        assert routed == intents.routed()
        former, earlier = {one.name: one for one in routed}, intents


def test_apps_that_are_left_alone_are_not_made_again() -> None:
    """A table of a thousand apps costs what its changes cost."""
    names = [f"a{number}" for number in range(1000)]
    intents = Intents()
    for name in names:
        intents = intents.admit(app(name), [replica(name, f"{name}-1")])
    former = {one.name: one for one in intents.routed()}
    changed = intents.admit(app("a7"), [replica("a7", "a7-2")])
    assert changed._changed(intents) == {"a7"}
    made = [
        one for one in changed.routed(former, intents) if one is not former[one.name]
    ]
    assert [one.name for one in made] == ["a7"]


def test_ejected_replica_leaves_and_comes_back() -> None:
    """A verdict takes a replica out without forgetting that it is admitted."""
    intents = Intents().admit(SHOP, [replica("shop", "a"), replica("shop", "b")])
    intents = intents.eject("a")
    assert serving(intents, "shop") == ["b"]
    assert serving(intents.readmit("a"), "shop") == ["a", "b"]


def test_verdict_about_an_unknown_container_changes_nothing() -> None:
    """The monitor may speak of a replica that no deployment has admitted."""
    intents = Intents().admit(SHOP, [replica("shop", "a")])
    assert intents.eject("stranger") == intents


def test_admitting_again_clears_the_verdict() -> None:
    """A deployment admits what it has just found healthy."""
    intents = Intents().admit(SHOP, [replica("shop", "a")]).eject("a")
    assert serving(intents.admit(SHOP, [replica("shop", "a")]), "shop") == ["a"]


def test_retired_replica_is_gone_with_its_verdict() -> None:
    """A container id never comes back, so nothing about it is kept."""
    intents = Intents().admit(SHOP, [replica("shop", "a")]).eject("a").retire(["a"])
    assert serving(intents, "shop") == []
    assert intents.ejected == frozenset()


def test_app_without_fit_replica_keeps_its_route() -> None:
    """Its domains answer 503, they do not vanish."""
    intents = Intents().admit(SHOP, [replica("shop", "a", None)])
    assert serving(intents, "shop") == []
    assert intents.routed()[0].domains == SHOP.domains


def test_forgotten_app_gives_up_routes_and_domains() -> None:
    """After a stop on purpose another app may have the domain."""
    intents = Intents().admit(SHOP, [replica("shop", "a")]).forget(AppName("shop"))
    assert intents.routed() == ()
    assert intents.owner(DomainName("shop.example.com")) is None


@pytest.mark.parametrize("name", ["shop.example.com", "www.shop.example.com"])
def test_domain_of_another_app_is_refused_by_name(name: str) -> None:
    """D28, P14, P15: a conflict is refused at deploy time, naming the owner."""
    intents = Intents().admit(SHOP, [replica("shop", "a")])
    with pytest.raises(Conflict, match=f"{name} belongs to app shop"):
        intents.claim(AppName("thief"), (domain("thief.example.com", name),))


def test_api_domain_is_refused() -> None:
    """An app cannot take haloyd's own name."""
    intents = Intents(api_domain=DomainName("api.example.com"))
    with pytest.raises(Conflict, match="haloyd's API"):
        intents.claim(AppName("shop"), (domain("api.example.com"),))


def test_two_deploys_at_once_cannot_claim_one_domain() -> None:
    """A reservation counts before anything is routed."""
    intents = Intents().claim(AppName("one"), (domain("a.example.com"),))
    with pytest.raises(Conflict, match="app one"):
        intents.claim(AppName("two"), (domain("a.example.com"),))
    assert (
        intents.claim(AppName("one"), (domain("b.example.com"),)).owner(
            DomainName("a.example.com")
        )
        is None
    )


def test_domains_that_want_a_certificate() -> None:
    """The API's name comes first, then every app's."""
    intents = Intents(api_domain=DomainName("api.example.com")).admit(
        SHOP, [replica("shop", "a")]
    )
    assert [one.canonical for one in intents.domains()] == [
        "api.example.com",
        "shop.example.com",
    ]
