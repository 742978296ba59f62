"""Which upstreams come and go is worked out from what differs between two tables."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from haloy.model.app import Address, ProxyOptions, UnixAddress
from haloy.model.names import AppName, DomainName
from haloy.proxy.demand import Demand, Wanted
from haloy.proxy.routes import (
    API_OWNER,
    ApiRoute,
    AppRoute,
    RedirectRoute,
    Route,
    RouteTable,
    Upstream,
)

API = ProxyOptions(max_connections=7)
OPTIONS = ProxyOptions()


def upstream(key: str, port: int = 80) -> Upstream:
    return Upstream(key, Address("127.0.0.1", port))


def route(app: str, *upstreams: Upstream, options: ProxyOptions = OPTIONS) -> AppRoute:
    return AppRoute(AppName(app), DomainName(f"{app}.example"), upstreams, options)


def follow(demand: Demand, table: RouteTable) -> tuple[Sequence[Wanted], Sequence[str]]:
    """Take all steps to C{table}."""
    steps = demand.follow(table)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: tuple[Sequence[Wanted], Sequence[str]] = end.value
            return found


def test_what_is_as_before_is_not_told_again() -> None:
    """Equal routes count as the same, though they were made anew."""
    demand = Demand(API)
    one, two = upstream("1"), upstream("2")
    first = {"a": route("a", one), "b": route("b", two)}
    assert follow(demand, RouteTable(1, first)) == (
        [Wanted(one, "a", OPTIONS), Wanted(two, "b", OPTIONS)],
        [],
    )
    three = upstream("3")
    second = {"a": route("a", upstream("1")), "b": route("b", three)}
    assert follow(demand, RouteTable(2, second)) == (
        [Wanted(three, "b", OPTIONS)],
        ["2"],
    )
    assert set(demand.apps) == {"a", "b"}


def test_other_options_or_another_address_are_told() -> None:
    """The key alone does not say that nothing has changed."""
    demand = Demand(API)
    follow(demand, RouteTable(1, {"a": route("a", upstream("1"))}))
    moved, few = upstream("1", 81), ProxyOptions(max_connections=3)
    assert follow(demand, RouteTable(2, {"a": route("a", moved)})) == (
        [Wanted(moved, "a", OPTIONS)],
        [],
    )
    limited = {"a": route("a", moved, options=few)}
    assert follow(demand, RouteTable(3, limited)) == ([Wanted(moved, "a", few)], [])


def test_an_upstream_stays_while_one_route_leads_there() -> None:
    """An app that gives up one of its domains keeps its replicas."""
    demand = Demand(API)
    here = route("a", upstream("1"))
    follow(demand, RouteTable(1, {"a": here}, {"a": here}))
    assert follow(demand, RouteTable(2, {"a": here})) == ([], [])
    assert follow(demand, RouteTable(3, {}, {"b": here})) == (
        [Wanted(upstream("1"), "a", OPTIONS)],
        [],
    )
    assert follow(demand, RouteTable(4)) == ([], ["1"])
    assert not demand.apps


def test_the_api_has_its_own_options_and_redirects_none() -> None:
    """The API is an upstream like others, an alias none at all."""
    demand = Demand(API)
    api = Upstream(API_OWNER, UnixAddress("/run/api.sock"))
    table: dict[str, Route] = {
        "api": ApiRoute(api),
        "www": RedirectRoute(DomainName("a.example")),
    }
    assert follow(demand, RouteTable(1, table)) == ([Wanted(api, API_OWNER, API)], [])
    assert set(demand.apps) == {API_OWNER}
    assert follow(demand, RouteTable(2)) == ([], [API_OWNER])


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=8))
def test_any_row_of_tables_ends_where_the_last_one_is(seeds: list[int]) -> None:
    """Whoever follows has exactly the upstreams and the apps of the newest table."""
    demand, held = Demand(API), set[str]()
    for generation, seed in enumerate(seeds):
        draw = random.Random(seed)
        routes: list[dict[str, Route]] = [{}, {}]
        for app in "abc":
            keys = draw.sample("1234", draw.randint(0, 3))
            made = route(app, *(upstream(app + key) for key in keys))
            for name in draw.sample("xyz", draw.randint(0, 3)):
                routes[draw.randint(0, 1)][f"{name}.{app}"] = made
        wanted, gone = follow(demand, RouteTable(generation, *routes))
        keys_wanted = {one.upstream.key for one in wanted}
        assert not keys_wanted & set(gone)
        assert set(gone) <= held
        held = (held | keys_wanted) - set(gone)
        there = [*routes[0].values(), *routes[1].values()]
        named = [one for one in there if isinstance(one, AppRoute)]
        assert held == {each.key for one in named for each in one.upstreams}
        assert set(demand.apps) == {one.app for one in named if one.upstreams}
