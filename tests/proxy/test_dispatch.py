"""Where a request goes, by head, connection and table."""

from __future__ import annotations

import pytest

from haloy.model.app import Address, Domain, UnixAddress
from haloy.model.names import AppName, DomainName
from haloy.proxy.dispatch import Arrival, decide, upgrade_for
from haloy.proxy.head import RequestHead, parse_request
from haloy.proxy.pages import Page
from haloy.proxy.routes import ApiRoute, AppRoute, RoutedApp, Upstream, build_table

UP = (Upstream("one", Address("10.0.0.1", 80)),)
TABLE, _ = build_table(
    1,
    (DomainName("api.example.com"), UnixAddress("/run/api.sock")),
    [
        RoutedApp(
            AppName("app"),
            (Domain(DomainName("app.example.com"), (DomainName("www.example.com"),)),),
            UP,
        ),
        RoutedApp(AppName("other"), (Domain(DomainName("other.example.com")),), UP),
        RoutedApp(AppName("any"), (Domain(DomainName("*.wild.example")),), UP),
    ],
)
SECURE = Arrival(secure=True)
PLAIN = Arrival(secure=False)


def request(
    host: str, target: str = "/", method: str = "GET", *fields: str
) -> RequestHead:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
    return parse_request("\r\n".join(lines).encode())


def page(
    arrival: Arrival, host: str, target: str = "/", method: str = "GET", port: int = 443
) -> Page:
    decision = decide(
        request(host, target, method), arrival, TABLE, {"tok_en-1": "tok.thumb"}, port
    )
    assert isinstance(decision, Page)
    return decision


def test_apps_and_api_are_forwarded() -> None:
    """A known name leads to its route."""
    route = decide(request("app.example.com"), SECURE, TABLE, {}, 443)
    assert isinstance(route, AppRoute)
    assert isinstance(
        decide(request("api.example.com"), SECURE, TABLE, {}, 443), ApiRoute
    )


@pytest.mark.parametrize("arrival", [SECURE, PLAIN])
def test_unknown_names_are_refused(arrival: Arrival) -> None:
    """They get 404, also on the plain port: no redirect reflects a host (spec P6)."""
    assert page(arrival, "evil.example").status == 404
    assert page(arrival, "127.0.0.1").status == 404


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("OPTIONS", 308)],
)
def test_plain_requests_go_to_https(method: str, status: int) -> None:
    """Methods other than GET and HEAD keep their method (spec P5)."""
    answer = page(PLAIN, "app.example.com:80", "/a%2Fb?x=1;y=2&z", method)
    assert answer.status == status
    assert answer.location == b"https://app.example.com/a%2Fb?x=1;y=2&z"


@pytest.mark.parametrize(
    ("host", "location"),
    [
        ("www.example.com", b"https://app.example.com:8443/"),
        ("api.example.com", b"https://api.example.com:8443/"),
        ("x.wild.example", b"https://x.wild.example:8443/"),
    ],
)
def test_where_plain_requests_go(host: str, location: bytes) -> None:
    """Aliases go to the canonical name at once; the port is named unless it is 443."""
    assert page(PLAIN, host, port=8443).location == location


def test_asterisk_is_redirected_to_the_root() -> None:
    """OPTIONS * has no path to keep."""
    answer = page(PLAIN, "app.example.com", "*", "OPTIONS")
    assert answer.location == b"https://app.example.com/"


def test_aliases_lead_to_the_canonical_name() -> None:
    """On HTTPS, too."""
    answer = page(SECURE, "www.example.com", "/x", port=8443)
    assert answer.location == b"https://app.example.com:8443/x"


def test_aliases_without_https() -> None:
    """Where TLS ends in front of us unseen, redirects stay on plain HTTP."""
    arrival = Arrival(secure=False, redirects=False)
    assert page(arrival, "www.example.com").location == b"http://app.example.com/"
    route = decide(request("app.example.com"), arrival, TABLE, {}, 443)
    assert isinstance(route, AppRoute)


def test_websockets_of_aliases_are_served() -> None:
    """WebSocket clients do not follow redirects (spec P2)."""
    upgrade = request(
        "www.example.com", "/", "GET", "Connection: Upgrade", "Upgrade: websocket"
    )
    route = decide(upgrade, SECURE, TABLE, {}, 443)
    assert isinstance(route, AppRoute)
    assert route.app == "app"


@pytest.mark.parametrize(
    ("server_name", "host", "status"),
    [
        ("other.example.com", "app.example.com", 421),
        ("app.example.com", "api.example.com", 421),
        ("unknown.example", "app.example.com", 421),
        ("app.example.com", "unknown.example", 404),
        ("app.example.com", "www.example.com", 301),
        ("www.example.com", "app.example.com", 0),
        ("app.example.com", "app.example.com", 0),
        (None, "app.example.com", 0),
    ],
)
def test_names_of_one_connection_belong_to_one_app(
    server_name: str | None, host: str, status: int
) -> None:
    """SNI of one app and Host of another is misdirected (spec P8)."""
    arrival = Arrival(secure=True, server_name=server_name)
    decision = decide(request(host), arrival, TABLE, {}, 443)
    assert (decision.status if isinstance(decision, Page) else 0) == status


@pytest.mark.parametrize("arrival", [SECURE, PLAIN])
@pytest.mark.parametrize("host", ["app.example.com", "unknown.example"])
def test_challenges_are_answered_before_anything_else(
    arrival: Arrival, host: str
) -> None:
    """A presented token is answered on every host and port."""
    answer = page(arrival, host, "/.well-known/acme-challenge/tok_en-1")
    assert (answer.status, answer.message, answer.text) == (200, "tok.thumb", True)


@pytest.mark.parametrize(
    "token", ["", "other", "tok_en-1?x", "tok_en-1/", "../../admin", "%74ok_en-1"]
)
def test_only_presented_challenges_are_answered(token: str) -> None:
    """The prefix is no door to anything else (spec P7)."""
    answer = page(PLAIN, "app.example.com", f"/.well-known/acme-challenge/{token}")
    assert (answer.status, answer.text) == (404, True)


def test_the_api_on_loopback() -> None:
    """A peer on this machine reaches the API by plain HTTP, others do not."""
    near = Arrival(secure=False, loopback=True)
    assert isinstance(decide(request("localhost:80"), near, TABLE, {}, 443), ApiRoute)
    assert page(PLAIN, "localhost").status == 404
    without, _ = build_table(
        1, None, [RoutedApp(AppName("a"), (Domain(DomainName("a.example.com")),), UP)]
    )
    decision = decide(request("localhost"), near, without, {}, 443)
    assert isinstance(decision, Page)


APP = decide(request("app.example.com"), SECURE, TABLE, {}, 443)
API = decide(request("api.example.com"), SECURE, TABLE, {}, 443)


@pytest.mark.parametrize(
    ("route", "method", "target", "upgrade", "passed"),
    [
        (APP, "GET", "/ws", "websocket", b"websocket"),
        (APP, "POST", "/ws", "websocket", b""),
        (APP, "GET", "/", "h2c", b""),
        (APP, "POST", "/v1/tunnel/app", "tcp", b""),
        (API, "POST", "/v1/tunnel/app", "tcp", b"tcp"),
        (API, "GET", "/v1/tunnel/app", "tcp", b""),
        (API, "POST", "/v1/deploy", "tcp", b""),
        (API, "GET", "/v1/exec", "websocket", b"websocket"),
    ],
)
def test_which_upgrades_pass(
    route: AppRoute | ApiRoute, method: str, target: str, upgrade: str, passed: bytes
) -> None:
    """WebSocket with GET; tcp for tunnels of the API alone."""
    head = request(
        "x.example", target, method, "Connection: Upgrade", f"Upgrade: {upgrade}"
    )
    assert upgrade_for(head, route) == passed
