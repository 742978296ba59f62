"""Every route that is served is described, and asks for what it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from haloy.api.bodies import SCOPES
from haloy.api.catalogue import ROUTES, Route
from haloy.api.server import Api
from tests.api.test_server import Server
from tests.support.api import NOW

#: What a token is worth nothing by, and what it is answered with.
MISFITS = ("none", "wrong", "expired", "revoked")
GUARDED = [one for one in ROUTES if one.scope is not None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    yield found
    found.database.close()


def served() -> set[tuple[str, str]]:
    """Return method and path of every route of the API and what is mounted there."""
    mounted = {
        "/v1/images/": "haloy.api.images:ImageRoutes",
        "/v1/registries": "haloy.api.registries:RegistryRoutes",
        "/v1/tokens": "haloy.api.access:TokenRoutes",
        "/v1/deployments": "haloy.api.deployments:DeploymentRoutes",
        "/v1/events": "haloy.api.events:EventRoutes",
        "/v1/certificates": "haloy.api.certificates:CertificateRoutes",
        "/metrics": "haloy.api.metrics:MetricsRoute",
    }
    found = set(rules(Api, ""))
    for prefix, place in mounted.items():
        module, name = place.split(":")
        kind = getattr(__import__(module, fromlist=[name]), name)
        found = {one for one in found if not one[1].startswith(prefix + "\0")}
        found |= set(rules(kind, prefix.rstrip("/")))
    return {one for one in found if "__rest__" not in one[1]}


def rules(kind: Any, prefix: str) -> Iterator[tuple[str, str]]:
    for rule in kind.app.url_map.iter_rules():
        for method in (rule.methods or {"*"}) - {"HEAD", "OPTIONS", "*"}:
            yield method, (prefix + rule.rule).rstrip("/") or "/"


def plain(path: str) -> str:
    return re.sub(r"[<{][^>}]*[>}]", "{}", path)


def test_what_is_served_is_described() -> None:
    """No route is missing, and none is made up."""
    described = {(one.method, plain(one.path)) for one in ROUTES}
    assert len(described) == len(ROUTES)
    assert {(method, plain(path)) for method, path in served()} == described


def token(server: Server, *scopes: str, **values: Any) -> str:
    body = {"name": "t", "scopes": list(scopes), **values}
    server.clock.advance(10)
    made = server.ask("POST", "/v1/tokens", body)
    assert made.status == 201, made.text
    return str(made.json["token"])


def path_of(route: Route) -> str:
    return re.sub(r"\{\w+\}", "something", route.path)


@pytest.mark.parametrize("misfit", MISFITS)
@pytest.mark.parametrize("route", GUARDED, ids=lambda one: f"{one.method} {one.path}")
def test_who_has_no_valid_token_is_told_nothing(
    server: Server, route: Route, misfit: str
) -> None:
    """401 with one text, whatever is asked for, and before the body is looked at."""
    shown: str | None = "wrong"
    if misfit == "none":
        shown = None
    elif misfit == "expired":
        shown = token(server, *SCOPES, expiresAt=(NOW - timedelta(1)).isoformat())
    elif misfit == "revoked":
        shown = token(server, *SCOPES)
        assert server.ask("POST", "/v1/tokens/t/revoke").status == 204
    answer = server.ask(route.method, path_of(route), b"{", token=shown)
    assert answer.status == 401
    assert answer.text == "authentication failed: a valid bearer token is needed\n"
    assert answer.headers["X-Haloy-Error"] == "unauthorized"


@pytest.mark.parametrize(
    "route",
    [one for one in GUARDED if one.scope],
    ids=lambda one: f"{one.method} {one.path}",
)
def test_who_has_another_scope_is_refused(server: Server, route: Route) -> None:
    """403 before the body is looked at, and nothing is done."""
    enough = {"admin", route.scope} | (
        {"deploy", "exec"} if route.scope == "read" else set()
    )
    others = [one for one in SCOPES if one not in enough]
    for scope in others:
        shown = token(server, scope)
        answer = server.ask(route.method, path_of(route), b"{", token=shown)
        assert (answer.status, answer.headers["X-Haloy-Error"]) == (403, "forbidden")
        server.database.connection.execute("DELETE FROM token")
    assert server.deployments.taken == []
    assert server.engine.calls == []


@pytest.mark.parametrize(
    "route",
    [one for one in GUARDED if one.scope],
    ids=lambda one: f"{one.method} {one.path}",
)
def test_who_may_is_heard(server: Server, route: Route) -> None:
    """The scope that is described is enough: what is wrong then is something else."""
    scope = route.scope or ""
    shown = token(server, scope)
    if route.stream is not None and "{app}" not in route.path:
        return  # it would follow for ever
    answer = server.ask(route.method, path_of(route), b"{", token=shown)
    allowed = (401,) if route.path.startswith("/v1/certificates/{name}") else (401, 403)
    assert answer.status not in allowed
