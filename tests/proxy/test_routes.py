"""Route tables: who owns a name, and what is found under it."""

from __future__ import annotations

import random
import time

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haloy.model.app import Address, Domain, ProxyOptions, UnixAddress
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import (
    ApiRoute,
    AppRoute,
    DomainConflict,
    RedirectRoute,
    RoutedApp,
    RouteTable,
    TableBuilder,
    Upstream,
    apps_of,
    build_table,
    find,
    owner_of,
)
from tests.support.waiting import slowness


def app(name: str, *domains: tuple[str, ...]) -> RoutedApp:
    return RoutedApp(
        AppName(name),
        tuple(
            Domain(DomainName(first), tuple(DomainName(one) for one in aliases))
            for first, *aliases in domains
        ),
        (Upstream(f"{name}-1", Address("10.0.0.1", 80)),),
        ProxyOptions(hsts_max_age_s=60),
    )


API = (DomainName("haloy.example.com"), UnixAddress("/run/api.sock"))


def test_a_table() -> None:
    """Canonical names lead to apps, aliases to their canonical, one to the API."""
    table, conflicts = build_table(
        7, API, [app("shop", ("Shop.example.com", "www.shop.example.com"))]
    )
    assert not conflicts
    assert table.generation == 7
    route = find(table, "shop.example.com")
    assert isinstance(route, AppRoute)
    assert (route.app, route.canonical) == ("shop", "shop.example.com")
    assert find(table, "www.shop.example.com") == RedirectRoute(
        DomainName("shop.example.com"), 60
    )
    assert isinstance(find(table, "haloy.example.com"), ApiRoute)


def test_wildcards_cover_one_label() -> None:
    """An exact name comes first; the domain itself and deeper names are not covered."""
    table, _ = build_table(
        1, None, [app("any", ("*.example.com",)), app("shop", ("shop.example.com",))]
    )

    def found(host: str) -> str:
        return owner_of(table, find(table, host))

    assert found("x.example.com") == "any"
    assert found("shop.example.com") == "shop"
    assert found("example.com") == ""
    assert found("a.b.example.com") == ""


def test_aliases_of_a_wildcard_are_served() -> None:
    """There is no single name to redirect them to."""
    table, _ = build_table(1, None, [app("any", ("*.example.com", "example.org"))])
    assert isinstance(find(table, "example.org"), AppRoute)


def test_the_first_owner_keeps_a_domain() -> None:
    """A conflict costs the later app that domain alone (spec P14, P15)."""
    table, conflicts = build_table(
        1,
        API,
        [
            app("a", ("a.example.com", "www.example.com")),
            app("b", ("a.example.com", "x.example.com"), ("b.example.com",)),
            app("c", ("c.example.com", "www.example.com", "haloy.example.com")),
        ],
    )
    assert set(conflicts) == {
        DomainConflict(DomainName("a.example.com"), "a", AppName("b")),
        DomainConflict(DomainName("www.example.com"), "a", AppName("c")),
        DomainConflict(DomainName("haloy.example.com"), "haloyd", AppName("c")),
    }
    owners = {name: owner_of(table, route) for name, route in table.exact.items()}
    assert owners == {
        "haloy.example.com": "haloyd",
        "a.example.com": "a",
        "www.example.com": "a",
        "b.example.com": "b",
        "c.example.com": "c",
    }


def test_an_app_does_not_conflict_with_itself() -> None:
    """A name that an app has twice stays what it was first."""
    table, conflicts = build_table(
        1, None, [app("a", ("a.example.com", "a.example.com"), ("a.example.com",))]
    )
    assert not conflicts
    assert isinstance(find(table, "a.example.com"), AppRoute)


def test_owner_of_nothing() -> None:
    """An unknown name and a redirect into nothing have no owner."""
    table = RouteTable()
    assert owner_of(table, None) == ""
    assert owner_of(table, RedirectRoute(DomainName("gone.example.com"))) == ""


def test_whose_an_upstream_is() -> None:
    """By its key; redirects lead to none."""
    table, _ = build_table(1, API, [app("shop", ("shop.example.com", "www.example"))])
    assert apps_of(table) == {"shop-1": "shop", "haloyd": "haloyd"}


def test_a_hundred_apps_of_three_replicas() -> None:
    """The whole table is made in less than 200 ms of a core (reliability section 4)."""
    apps = [
        RoutedApp(
            AppName(f"app{number}"),
            (Domain(DomainName(f"app{number}.example.com")),),
            tuple(
                Upstream(f"{number}-{replica}", Address("172.18.0.2", 8080))
                for replica in range(3)
            ),
        )
        for number in range(100)
    ]
    began_s = time.thread_time()
    table, conflicts = build_table(1, None, apps)
    took_s = time.thread_time() - began_s
    assert (len(table.exact), conflicts) == (100, ())
    assert took_s < 0.2 * slowness()


def shapes(draw: random.Random) -> list[RoutedApp]:
    """Return apps that want each other's domains, in any order."""
    names = [f"{first}x.example" for first in ("", "*.", "b.", "B.", "haloy.")]
    found = []
    for name in draw.sample("pqr", draw.randint(1, 3)):
        domains = [
            tuple(draw.sample(names, draw.randint(1, 3)))
            for _ in range(draw.randint(0, 2))
        ]
        found.append(app(name, *domains))
    return found


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_row_of_tables_is_as_each_made_alone(seed: int, length: int) -> None:
    """Whatever has changed in between: upstreams, options, domains, apps, the API."""
    draw, builder = random.Random(seed), TableBuilder()
    apps: list[RoutedApp] = []
    for generation in range(length):
        api = draw.choice([None, API, (DomainName("haloy.x.example"), API[1])])
        if generation % 3 == 0:
            apps = shapes(draw)
        else:
            place = draw.randrange(len(apps))
            options = ProxyOptions(hsts_max_age_s=draw.randint(0, 2))
            apps = [*apps]
            apps[place] = evolve(apps[place], upstreams=(), options=options)
        table, conflicts = builder.build(generation, api, apps)
        alone, same = build_table(generation, api, apps)
        assert table == alone
        assert list(conflicts) == list(same)


def test_what_is_as_before_is_not_made_again() -> None:
    """A change of one app's upstreams makes one route."""
    builder = TableBuilder()
    apps = [app(f"a{n}", (f"a{n}.example", f"w{n}.example")) for n in range(50)]
    before, _ = builder.build(1, API, apps)
    apps = [*apps[:7], evolve(apps[7], upstreams=()), *apps[8:]]
    after, _ = builder.build(2, API, apps)
    new = [name for name, one in after.exact.items() if before.exact[name] is not one]
    assert new == ["a7.example", "w7.example"]
