"""Tokens, what each may, and the trail of what was done."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.web.test.requesthelper import DummyRequest

from haloy.api.gatekeeper import Caller, client_address
from tests.api.test_server import ID, Answer, Server, exchange, hello, replica
from tests.support.api import NOW


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    found.deployments.known["hello"] = hello(replica(1))
    yield found
    found.database.close()


def make(server: Server, name: str = "ci", **body: Any) -> str:
    answer = server.ask("POST", "/v1/tokens", {"name": name, **body})
    assert answer.status == 201, answer.text
    token: str = answer.json["token"]
    return token


def test_token_is_shown_once_and_kept_hashed(server: Server) -> None:
    """32 random bytes with a prefix; nothing of them is in the database."""
    token = make(server, scopes=["read"])
    assert token.startswith("haloy_")
    assert len(token) >= 49
    (listed,) = server.ask("GET", "/v1/tokens").json["tokens"]
    assert listed["name"] == "ci"
    assert token not in str(listed)
    dump = "".join(server.database.connection.iterdump())
    assert token not in dump
    assert token.removeprefix("haloy_") not in dump


#: Each route with the scope that it needs: every one is refused to the others.
ROUTES: list[tuple[str, str, object, str]] = [
    ("GET", "/v1/status/hello", None, "read"),
    ("GET", "/v1/rollback/hello", None, "read"),
    ("GET", "/v1/logs/hello?follow=false", None, "read"),
    ("POST", "/v1/stop/hello", None, "deploy"),
    ("POST", "/v1/images/layers/check", {"digests": ["sha256:" + "a" * 64]}, "deploy"),
    ("POST", "/v1/images/prune", {"appName": "hello", "keep": 1}, "deploy"),
    ("POST", "/v1/exec/hello", {"command": ["x"]}, "exec"),
    ("GET", "/v1/tokens", None, "admin"),
    ("GET", "/v1/audit", None, "admin"),
    ("GET", "/v1/registries", None, "admin"),
    (
        "POST",
        "/v1/registries/login",
        {"server": "a", "username": "b", "password": "c"},
        "admin",
    ),
]


@pytest.mark.parametrize(("method", "path", "body", "needed"), ROUTES)
def test_scopes(
    server: Server, method: str, path: str, body: object, needed: str
) -> None:
    """Every route with no token, a wrong, an expired, a lesser and a fitting one."""
    allowed = {
        "read": {"read", "deploy", "exec", "admin"},
        "deploy": {"deploy", "admin"},
        "exec": {"exec", "admin"},
        "admin": {"admin"},
    }[needed]
    expired = (NOW - timedelta(seconds=1)).isoformat()
    old = make(server, "old", scopes=["admin"], expiresAt=expired)
    for refused in (None, "wrong", old):
        assert server.ask(method, path, body, token=refused).status == 401
    for scope in ("read", "deploy", "exec", "admin"):
        status = server.ask(
            method, path, body, token=make(server, scope, scopes=[scope])
        ).status
        assert (status != 403) == (scope in allowed), scope
        assert status not in {401, 500}


def deploy_as(server: Server, token: str) -> Answer:
    body = exchange("POST /v1/deploy")["request"]["body"].encode()
    return server.ask("POST", "/v1/deploy", body, token=token)


def test_token_for_some_apps(server: Server) -> None:
    """It deploys and sees those, and gives names of theirs to images alone."""
    mine = make(server, "mine", scopes=["deploy"], apps=["hello"])
    other = make(server, "other", scopes=["deploy"], apps=["shop"])
    assert deploy_as(server, mine).status == 202
    refused = deploy_as(server, other)
    assert (refused.status, "deploy for app hello" in refused.text) == (403, True)
    assert server.ask("GET", "/v1/status/hello", token=other).status == 403
    assert server.ask("GET", "/v1/apps", token=other).json == {"apps": []}
    assert len(server.ask("GET", "/v1/apps", token=mine).json["apps"]) == 1
    assert server.ask("GET", "/v1/version", token=other).status == 200
    assert server.ask("GET", "/v1/server-logs", token=mine).status == 403
    assemble = {"imageRef": "hello:1", "manifest": {"Layers": ["x"]}, "config": ""}
    path = "/v1/images/layers/assemble"
    assert server.ask("POST", path, assemble, token=mine).status == 400
    assert server.ask("POST", path, assemble, token=other).status == 403


def test_revoked_token_is_worth_nothing_at_once(server: Server) -> None:
    """No restart is needed (D20)."""
    token = make(server, scopes=["read"])
    assert server.ask("GET", "/v1/version", token=token).status == 200
    assert server.ask("POST", "/v1/tokens/ci/revoke").status == 204
    assert server.ask("GET", "/v1/version", token=token).status == 401
    assert server.ask("POST", "/v1/tokens/nobody/revoke").status == 404
    (listed,) = server.ask("GET", "/v1/tokens").json["tokens"]
    assert listed["revokedAt"] is not None
    assert listed["lastUsedAt"] is not None
    again = server.ask("POST", "/v1/tokens", {"name": "ci", "scopes": ["read"]})
    assert again.status == 409


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([], "body"),
        ({"name": "a b", "scopes": ["read"]}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes"),
        ({"name": "a", "scopes": "read"}, "scopes"),
        ({"name": "a", "scopes": ["admin"], "apps": ["x"]}, "apps"),
        ({"name": "a", "scopes": ["read"], "apps": ["-"]}, "apps"),
        ({"name": "a", "scopes": ["read"], "expiresAt": "soon"}, "expiresAt"),
        ({"name": "a", "scopes": ["read"], "expiresAt": "2027-01-01"}, "expiresAt"),
        ({"name": "a", "scopes": ["read"], "odd": 1}, "odd"),
    ],
)
def test_odd_tokens(server: Server, body: object, words: str) -> None:
    """The field is named, nothing is made."""
    answer = server.ask("POST", "/v1/tokens", body)
    assert answer.status == 400
    assert answer.text.startswith(words)
    assert server.ask("GET", "/v1/tokens").json == {"tokens": []}


def test_env_name_is_taken(server: Server) -> None:
    """The token of `.env` has a name of its own in the trail."""
    answer = server.ask("POST", "/v1/tokens", {"name": "env", "scopes": ["read"]})
    assert answer.status == 409


def test_trail(server: Server) -> None:
    """Who, from where, what, and how it ended; failures too."""
    token = make(server, scopes=["deploy"], apps=["hello"])
    deploy_as(server, token)
    server.ask("POST", "/v1/stop/hello", token=token)
    server.deployments.known.clear()
    server.ask("POST", "/v1/stop/hello", token=token)
    actions = server.ask("GET", "/v1/audit?limit=3").json["actions"]
    assert [
        (one["token"], one["action"], one["subject"], one["result"]) for one in actions
    ] == [
        ("ci", "stop", "hello", "not-found"),
        ("ci", "stop", "hello", "ok"),
        ("ci", "deploy", f"hello {ID}", "ok"),
    ]
    assert all(one["address"] and one["at"] for one in actions)
    everything = server.ask("GET", "/v1/audit").json["actions"]
    assert everything[-1]["action"] == "token.create"


def test_what_a_caller_may() -> None:
    """Deploying and executing include reading; an app limit always counts."""
    for scope in ("deploy", "exec"):
        assert Caller("a", "", frozenset({scope}), frozenset()).may("read", "x")
    assert not Caller("a", "", frozenset({"read"}), frozenset()).may("deploy", "x")
    some = Caller("a", "", frozenset({"deploy"}), frozenset({"x"}))
    assert some.may("deploy", "x")
    assert not some.may("deploy", "y")
    assert not some.may("deploy", None)


def test_behind_the_proxy_the_last_address_counts() -> None:
    """What comes before it is the client's own word: it would be another one each time.

    Over TCP nobody's word counts.
    """
    over_unix, over_tcp = DummyRequest([]), DummyRequest([])
    over_unix.client = UNIXAddress(b"")
    over_tcp.client = IPv4Address("TCP", "198.51.100.7", 1)
    for request in (over_unix, over_tcp):
        request.requestHeaders.setRawHeaders(
            "X-Forwarded-For", ["192.0.2.1, 203.0.113.9"]
        )
    assert client_address(over_unix) == "203.0.113.9"
    assert client_address(over_tcp) == "198.51.100.7"
