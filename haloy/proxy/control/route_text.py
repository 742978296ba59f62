"""Routes as JSON, one text for each.

A table of a thousand routes may be another ten times a second. Who passes it on and
keeps it handles texts and reads none; who goes by it reads a part at a time. The usual
route of an app, one without options, is made and read here without the general way of
L{haloy.proxy.control.values}, to the same effect, in a third of the time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final

from haloy.model.app import Address, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.values import decoder, encode
from haloy.proxy.routes import AppRoute, Route, Upstream

_USUAL_OPTIONS: Final = ProxyOptions()

#: Key, host and port.
_UPSTREAM: Final = [str, str, int]

_read: Final = decoder(Route)
#: What C{json.loads} calls, without what it does before and after.
_decode: Final = json.JSONDecoder().raw_decode


def route_text(route: Route) -> bytes:
    """Return the JSON of C{route}: ASCII, and no line's end in it.

    The usual route is C{[app, canonical, [key, host, port], ...]}.
    """
    if type(route) is AppRoute and route.options == _USUAL_OPTIONS:
        parts = [quoted(route.app), quoted(route.canonical)]
        for one in route.upstreams:
            address = one.address
            if type(address) is not Address:
                return _general(route)
            parts.append(f"[{quoted(one.key)},{quoted(address.host)},{address.port}]")
        return f"[{','.join(parts)}]".encode("ascii")
    return _general(route)


def _general(route: Route) -> bytes:
    return json.dumps(encode(route), separators=(",", ":")).encode("ascii")


def read_route(text: bytes) -> Route:
    """Return the route. @raise ValueError: it is none."""
    told = text.decode("ascii")
    try:
        value, end = _decode(told)
    except RecursionError:
        raise ValueError("nested without end") from None
    if end != len(told):
        raise ValueError("something stands behind it")
    return route_of(value)


def read_routes(texts: Mapping[str, bytes]) -> dict[str, Route]:
    """Return the routes of C{texts}, by the same names.

    @raise ValueError: one is none; the text names it.
    """
    found = {}
    for name, text in texts.items():
        try:
            found[name] = read_route(text)
        except ValueError as problem:
            raise ValueError(f"the route of {name}: {problem}") from None
    return found


def route_of(value: Any) -> Route:
    """Return the route whose JSON says C{value}. @raise ValueError: it is none."""
    if type(value) is not list:
        route: Route = _read(value)
        return route
    if len(value) < 2 or type(value[0]) is not str or type(value[1]) is not str:
        raise ValueError("a list that is no route")
    upstreams = []
    for one in value[2:]:
        if type(one) is not list or list(map(type, one)) != _UPSTREAM:
            raise ValueError("a list that is no upstream")
        key, host, port = one
        upstreams.append(Upstream(key, Address(host, port)))
    return AppRoute(AppName(value[0]), DomainName(value[1]), tuple(upstreams))
