"""Where a request goes: an app, the API, or an answer of our own.

The decisions of the proxy in one place, as a function of the request's head, the
connection's facts and the table. Knows nothing of upstreams' health or sockets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from haloy.proxy import pages
from haloy.proxy.head import RequestHead
from haloy.proxy.routes import (
    ApiRoute,
    AppRoute,
    RedirectRoute,
    RouteTable,
    find,
    owner_of,
)

CHALLENGE_PREFIX: Final = b"/.well-known/acme-challenge/"
_LOCAL_NAMES: Final = frozenset(("localhost", "127.0.0.1", "[::1]"))
_TUNNEL_PREFIX: Final = b"/v1/tunnel/"


@frozen
class Arrival:
    """What the connection says about a request.

    C{secure}: the client speaks TLS to us or to a proxy that we trust.
    C{server_name} is the name of the handshake, C{None} without one.
    C{redirects}: plain requests are sent to HTTPS; false where no HTTPS listener
    exists. C{loopback}: the peer is on this machine.
    """

    secure: bool
    server_name: str | None = None
    redirects: bool = True
    loopback: bool = False


def decide(
    request: RequestHead,
    arrival: Arrival,
    table: RouteTable,
    challenges: Mapping[str, str],
    public_https: int,
) -> AppRoute | ApiRoute | pages.Page:
    """Return the route to forward by, or the page to answer with.

    @param challenges: token to key authorisation, what is presented right now.
    @param public_https: the port in redirects; 443 is left out of URLs.
    """
    if request.target.startswith(CHALLENGE_PREFIX):
        return _answer_challenge(request, challenges)
    route = find(table, request.name)
    if not arrival.secure and arrival.redirects:
        return _on_plain(request, arrival, table, public_https)
    if route is None:
        return pages.error(404)
    if (
        arrival.server_name is not None
        and arrival.server_name != request.name
        and owner_of(table, find(table, arrival.server_name)) != owner_of(table, route)
    ):
        return pages.error(421)
    if not isinstance(route, RedirectRoute):
        return route
    canonical = find(table, route.canonical)
    if request.upgrade == b"websocket" and isinstance(canonical, AppRoute):
        # WebSocket clients do not follow redirects (spec P2).
        return canonical
    location = _url(route.canonical, request.target, arrival.secure, public_https)
    return pages.redirect(request.method, location)


def upgrade_for(request: RequestHead, route: AppRoute | ApiRoute) -> bytes:
    """Return the protocol that may be asked for on the way up, usually none.

    C{websocket} with GET; on the API also C{tcp} with POST under C{/v1/tunnel/}.
    """
    if request.upgrade == b"websocket" and request.method == b"GET":
        return b"websocket"
    if (
        request.upgrade == b"tcp"
        and isinstance(route, ApiRoute)
        and request.method == b"POST"
        and request.target.startswith(_TUNNEL_PREFIX)
    ):
        return b"tcp"
    return b""


def _answer_challenge(
    request: RequestHead, challenges: Mapping[str, str]
) -> pages.Page:
    token = request.target[len(CHALLENGE_PREFIX) :].decode("ascii")
    authorization = challenges.get(token)
    if authorization is None:
        return pages.Page(404, "No such challenge.", text=True)
    return pages.Page(200, authorization, text=True)


def _on_plain(
    request: RequestHead, arrival: Arrival, table: RouteTable, public_https: int
) -> ApiRoute | pages.Page:
    if arrival.loopback and request.name in _LOCAL_NAMES:
        for api in table.exact.values():
            if isinstance(api, ApiRoute):
                return api
    route = find(table, request.name)
    if route is None:
        return pages.error(404)
    name = route.canonical if isinstance(route, RedirectRoute) else request.name
    location = _url(name, request.target, True, public_https)
    return pages.redirect(request.method, location)


def _url(name: str, target: bytes, secure: bool, public_https: int) -> bytes:
    if target == b"*":
        target = b"/"
    scheme = "https" if secure else "http"
    port = f":{public_https}" if secure and public_https != 443 else ""
    return f"{scheme}://{name}{port}".encode("ascii") + target
