"""The routes of certificates."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from haloy.api.certificates import PEM_LIMIT_BYTES
from haloy.certs.files import NotWritten
from haloy.errors import CertificateError
from tests.api.test_server import Server, hello, replica
from tests.fakes.certificates import ENDS, status

HELLO = "hello.localhost"
STAR = "*.example.com"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    found.deployments.known["hello"] = hello(replica(1))
    found.certificates.known = [
        status(
            HELLO,
            names=(HELLO, "www.hello.localhost"),
            not_before=ENDS - timedelta(days=90),
            fingerprint="ab" * 32,
        ),
        status(
            "api.example.com",
            "failed",
            None,
            reason="connection refused",
            problem="connection",
            document='{"type": "urn:ietf:params:acme:error:connection"}',
            failures=2,
            next_try=ENDS,
            ordering=True,
        ),
        status(STAR),
    ]
    yield found
    found.database.close()


def token(server: Server, *scopes: str, app: str = "") -> str:
    body = {"name": "ci", "scopes": scopes, "apps": [app] if app else []}
    made: str = server.ask("POST", "/v1/tokens", body).json["token"]
    return made


def test_list_says_how_it_stands_with_each(server: Server) -> None:
    """A reason, the CA's own document, and when it is tried again."""
    first, second, _ = server.ask("GET", "/v1/certificates").json["certificates"]
    assert first == {
        "name": HELLO,
        "state": "valid",
        "names": [HELLO, "www.hello.localhost"],
        "notBefore": "2026-11-24T12:00:00Z",
        "notAfter": "2027-02-22T12:00:00Z",
        "issuer": "CN=test CA",
        "fingerprint": "ab" * 32,
    }
    assert second == {
        "name": "api.example.com",
        "state": "failed",
        "issuer": "CN=test CA",
        "reason": "connection refused",
        "problem": "connection",
        "document": '{"type": "urn:ietf:params:acme:error:connection"}',
        "failures": 2,
        "ordering": True,
        "nextTry": "2027-02-22T12:00:00Z",
    }


@pytest.mark.parametrize("asked", [HELLO, "HELLO.localhost", "%2A.example.com"])
def test_one_is_shown(server: Server, asked: str) -> None:
    """In any letter case; a wildcard too."""
    answer = server.ask("GET", f"/v1/certificates/{asked}")
    assert answer.status == 200
    assert answer.json["name"] in {HELLO, STAR}


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ("www.hello.localhost", 404),
        ("unknown.example.com", 404),
        ("..%2F..%2Fetc%2Fpasswd", 404),
        ("%2E%2E", 400),
        ("a%00b.example.com", 400),
    ],
)
def test_what_is_none_is_refused(server: Server, asked: str, code: int) -> None:
    """A name becomes a file name: only host names pass."""
    assert server.ask("GET", f"/v1/certificates/{asked}").status == code
    pem = {"pem": "x"}
    taken = server.ask("POST", f"/v1/certificates/{asked}", pem)
    assert taken.status == (200 if code == 404 and "%" not in asked else code)


def test_renewal_is_asked_for_and_noted(server: Server) -> None:
    """The answer says how it stood, so that a client sees when it changes."""
    answer = server.ask("POST", f"/v1/certificates/{HELLO}/renew", {})
    assert (answer.status, answer.json["fingerprint"]) == (202, "ab" * 32)
    assert server.certificates.renewed == [HELLO]
    (action,) = server.ask("GET", "/v1/audit").json["actions"]
    assert (action["action"], action["subject"]) == ("certificate.renew", HELLO)
    assert server.ask("POST", "/v1/certificates/x.example.com/renew").status == 404


def test_renewal_that_nobody_would_issue_says_why(server: Server) -> None:
    """409: trying again does not help."""
    server.certificates.refuse = CertificateError("a wildcard needs DNS-01")
    answer = server.ask("POST", "/v1/certificates/%2A.example.com/renew")
    assert answer.status == 409
    assert "needs DNS-01" in answer.text


def test_one_of_ones_own_is_taken(server: Server) -> None:
    """For a name that is wanted, and for one that will be."""
    answer = server.ask("POST", f"/v1/certificates/{HELLO}", {"pem": "KEY CHAIN"})
    assert (answer.status, answer.json["state"]) == (200, "valid")
    answer = server.ask("POST", "/v1/certificates/new.example.com", {"pem": "x"})
    assert answer.json == {"name": "new.example.com", "state": "unused"}
    assert server.certificates.taken == [
        (HELLO, b"KEY CHAIN"),
        ("new.example.com", b"x"),
    ]
    actions = server.ask("GET", "/v1/audit").json["actions"]
    assert {one["action"] for one in actions} == {"certificate.import"}
    assert "KEY CHAIN" not in str(actions)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ([], 400),
        ({"pem": 3}, 400),
        ({"pem": "x", "key": "y"}, 400),
        ({"pem": "x" * (PEM_LIMIT_BYTES + 1)}, 400),
    ],
)
def test_wrong_bodies_are_refused(server: Server, body: object, code: int) -> None:
    """Nothing of them is kept."""
    assert server.ask("POST", f"/v1/certificates/{HELLO}", body).status == code
    assert server.certificates.taken == []


@pytest.mark.parametrize(
    ("problem", "code"),
    [(CertificateError("holds no private key"), 400), (NotWritten("disk full"), 503)],
)
def test_one_that_cannot_be_served_is_refused(
    server: Server, problem: Exception, code: int
) -> None:
    """Whose fault it is decides about the status."""
    server.certificates.refuse = problem
    answer = server.ask("POST", f"/v1/certificates/{HELLO}", {"pem": "x"})
    assert answer.status == code
    assert str(problem) in answer.text


def test_token_of_an_app_sees_and_changes_its_own_names(server: Server) -> None:
    """And nothing of others, which may not even exist."""
    own = token(server, "read", "deploy", app="hello")
    listed = server.ask("GET", "/v1/certificates", token=own).json["certificates"]
    assert [one["name"] for one in listed] == [HELLO]
    for name, code in ((HELLO, 200), (STAR, 403), ("unknown.example.com", 403)):
        path = f"/v1/certificates/{name}"
        assert server.ask("GET", path, token=own).status == code
        pem = {"pem": "x"}
        assert server.ask("POST", path, pem, token=own).status == code
    renew = server.ask("POST", f"/v1/certificates/{HELLO}/renew", {}, token=own)
    assert renew.status == 202


def test_reading_does_not_change_and_names_of_no_app_are_for_admins(
    server: Server,
) -> None:
    """The API's own domain belongs to no app."""
    reader = token(server, "read")
    assert server.ask("GET", f"/v1/certificates/{STAR}", token=reader).status == 200
    listed = server.ask("GET", "/v1/certificates", token=reader).json["certificates"]
    assert len(listed) == 3
    for path in (f"/v1/certificates/{HELLO}/renew", f"/v1/certificates/{STAR}/renew"):
        assert server.ask("POST", path, {}, token=reader).status == 403
    server.ask("POST", "/v1/tokens/ci/revoke")
    assert server.ask("GET", "/v1/certificates", token=reader).status == 401
