"""Routes as texts: each is read as what it was."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haloy.model.app import Address, ProxyOptions, UnixAddress
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.route_text import (
    read_route,
    read_routes,
    route_of,
    route_text,
)
from haloy.proxy.control.values import encode
from haloy.proxy.routes import ApiRoute, AppRoute, RedirectRoute, Route, Upstream

ADDRESSES = st.builds(Address, st.text(), st.integers(0, 65535)) | st.builds(
    UnixAddress, st.text()
)
UPSTREAMS = st.builds(Upstream, st.text(), ADDRESSES)
APP_ROUTES = st.builds(
    AppRoute,
    st.text().map(AppName),
    st.text().map(DomainName),
    st.lists(UPSTREAMS, max_size=3).map(tuple),
    st.sampled_from([ProxyOptions(), ProxyOptions(max_connections=7)]),
)
ROUTES: st.SearchStrategy[Route] = (
    APP_ROUTES
    | st.builds(RedirectRoute, st.text().map(DomainName), st.none() | st.integers())
    | st.builds(ApiRoute, UPSTREAMS)
)


@given(ROUTES)
def test_a_route_is_read_as_it_was(route: Route) -> None:
    """Also from the general form, as table.json of before has all of them."""
    text = route_text(route)
    assert read_route(text) == route
    assert text.isascii()
    assert b"\n" not in text
    assert route_of(encode(route)) == route


def test_the_usual_route_is_short() -> None:
    """A thousand of these may come ten times a second."""
    upstream = Upstream("key", Address("127.0.0.1", 80))
    route = AppRoute(AppName("a"), DomainName("a.example"), (upstream,))
    assert route_text(route) == b'["a","a.example",["key","127.0.0.1",80]]'


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"7",
        b'["a"]',
        b'["a",1]',
        b'[1,"a"]',
        b'["a","b",["key","host"]]',
        b'["a","b",["key","host",true]]',
        b'["a","b",["key","host","80"]]',
        b'["a","b",["key","host",80,1]]',
        b'["a","b","key"]',
        b'["a","b",{"is":"Upstream"}]',
        b'{"is":"AppRoute"}',
        b'["a","b"],["a","b"]',
        b"[" * 100_000,
    ],
)
def test_what_is_no_route_is_refused_by_name(text: bytes) -> None:
    """Whatever stands beside it."""
    good = b'["a","b"]'
    with pytest.raises(ValueError, match=r"."):
        read_route(text)
    with pytest.raises(ValueError, match=r"^the route of bad: "):
        read_routes({"a": good, "bad": text, "c": good})


def test_two_that_make_a_list_are_none() -> None:
    """Neither of them, though both together, with their comma, can be read."""
    with pytest.raises(ValueError, match=r"^the route of one: "):
        read_routes({"one": b'["a"', "two": b'"b"],["a","b"]'})


@given(st.dictionaries(st.text(), ROUTES, max_size=5))
def test_routes_keep_their_names(routes: dict[str, Route]) -> None:
    """And their order."""
    texts = {name: route_text(route) for name, route in routes.items()}
    assert list(read_routes(texts).items()) == list(routes.items())
    assert all(json.loads(text) for text in texts.values())
