"""How C{certs.acme_http} talks to a CA, whatever the CA does."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

import pytest
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import (
    ConnectingCancelledError,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.web.client import Agent, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from haloy.certs.acme_http import (
    BODY_LIMIT_BYTES,
    DIRECTORY_LIFE_S,
    NONCE_TRIES,
    REQUEST_LIMIT_S,
    AcmeError,
    AcmeHttp,
    retry_after_s,
)
from haloy.certs.jose import AccountKey
from tests.fakes.acme import BASE, DIRECTORY, HANG, FakeCa, Scripted, problem
from tests.support.certificates import NOW

KEY = AccountKey.generate()

T = TypeVar("T")


def http(ca: FakeCa, clock: Clock | None = None) -> AcmeHttp:
    return AcmeHttp(clock or Clock(), ca.client(), DIRECTORY, lambda: NOW)


def result(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what C{coroutine} gives, which must not have to wait."""
    found: list[Any] = []
    Deferred.fromCoroutine(coroutine).addBoth(found.append)
    assert found, "it waits"
    if isinstance(found[0], Failure):
        found[0].raiseException()
    value: T = found[0]
    return value


def refused(coroutine: Coroutine[Any, Any, Any]) -> AcmeError:
    with pytest.raises(AcmeError) as caught:
        result(coroutine)
    return caught.value


def posting(ca: FakeCa) -> AcmeError:
    return refused(http(ca).post(f"{BASE}/order", {}, KEY, f"{BASE}/account/1"))


# --- limits -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3600", 3600.0),
        (" 5 ", 5.0),
        ("Tue, 24 Nov 2026 13:00:00 GMT", 3600.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("Tue, 24 Nov 2026 13:00:00 -0000", 3600.0),
        ("9" * 400, 999999999.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("\u0663", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    """RFC 9110 section 10.2.3; nonsense is none."""
    assert retry_after_s(value, NOW) == seconds


@pytest.mark.parametrize("kind", [(429, "rateLimited"), (503, "serverInternal")])
def test_too_many_is_told_with_its_time_and_not_tried_again(
    kind: tuple[int, str],
) -> None:
    """D16: one request, one error."""
    ca = FakeCa()
    ca.script["order"] = [problem(*kind, "too many", Retry_After="3600")]
    error = posting(ca)
    assert (error.kind, error.status, error.retry_after_s) == ("rate", kind[0], 3600.0)
    assert error.reason == "too many"
    assert ca.paths() == ["/order"]


def test_answer_in_html_is_quoted_a_little() -> None:
    """A proxy before the CA says what is wrong, in its own way."""
    ca = FakeCa()
    ca.script["order"] = [Scripted(502, b"<h1>Bad Gateway</h1>" + b"x" * 10_000)]
    error = posting(ca)
    assert error.reason.startswith("HTTP 502: <h1>Bad Gateway</h1>")
    assert len(error.reason) < 300


def test_subproblems_are_told() -> None:
    """RFC 8555 section 6.7.1: which name it is about."""
    body = (
        b'{"type": "urn:ietf:params:acme:error:compound", "detail": "two names",'
        b' "subproblems": [{"detail": "a.example.com is forbidden"}, 7, {}]}'
    )
    ca = FakeCa()
    ca.script["order"] = [Scripted(403, body)]
    assert posting(ca).reason == "two names; a.example.com is forbidden"
    for odd in (b"7", b'"text"', b"{}"):
        ca.script["order"] = [
            Scripted(403, b'{"detail": "no", "subproblems": %s}' % odd)
        ]
        assert posting(ca).reason == "no"


# --- nonces -------------------------------------------------------------------


def test_bad_nonce_is_tried_again_with_the_fresh_one() -> None:
    """Pebble refuses one in five on purpose."""
    ca = FakeCa()
    ca.script["key"] = [problem(400, "badNonce")] * 3
    answer = result(http(ca).post(f"{BASE}/key", {}, KEY, f"{BASE}/account/1"))
    assert answer.status == 200
    used = [call.protected["nonce"] for call in ca.calls if call.path == "/key"]
    assert len(set(used)) == 4


def test_bad_nonces_without_end_are_an_error() -> None:
    """And not a loop."""
    ca = FakeCa()
    ca.kept = True
    ca.script["order"] = [problem(400, "badNonce")]
    assert "nonces in a row" in posting(ca).reason
    assert len(ca.paths()) == NONCE_TRIES


def test_requests_are_signed_for_their_url_by_key_or_account() -> None:
    """RFC 8555 section 6.2: C{jwk} for a new account, C{kid} for all else."""
    ca = FakeCa()
    here = http(ca)
    result(here.post(f"{BASE}/key", {"a": 1}, KEY, ""))
    result(here.post(f"{BASE}/key", None, KEY, "https://ca.example/account/1"))
    first, second = (call for call in ca.calls if call.method == "POST")
    assert first.protected["jwk"] == KEY.public()
    assert first.protected["url"] == f"{BASE}/key"
    assert (first.payload, second.payload) == ({"a": 1}, {})
    assert second.protected["kid"] == "https://ca.example/account/1"
    assert "jwk" not in second.protected


# --- the directory ------------------------------------------------------------


def test_directory_is_asked_for_once_a_day() -> None:
    """A CA may move its endpoints."""
    ca, clock = FakeCa(), Clock()
    here = http(ca, clock)
    for _ in range(3):
        result(here.directory())
    assert ca.paths("GET") == ["/dir"]
    clock.advance(DIRECTORY_LIFE_S)
    result(here.directory())
    assert ca.paths("GET") == ["/dir", "/dir"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Scripted(200, b"<html>"), "not a JSON object"),
        (Scripted(200, b"[]"), "not a JSON object"),
        (Scripted(200, b"[" * 100_000), "not a JSON object"),
        (Scripted(200, b'{"newNonce": ""}'), "not an ACME v2 directory"),
        (Scripted(404, b"no such page"), "HTTP 404: no such page"),
    ],
)
def test_what_is_no_directory_says_so(answer: Scripted, reason: str) -> None:
    """A wrong C{acme.directory} is found out at the first order."""
    ca = FakeCa()
    ca.script["dir"] = [answer]
    assert reason in refused(http(ca).directory()).reason


def test_url_without_tls_is_not_asked() -> None:
    """Whoever is in between could answer for the CA."""
    ca = FakeCa()
    error = refused(http(ca).get("http://ca.example/dir"))
    assert "without TLS" in error.reason
    assert ca.calls == []


# --- the way there ------------------------------------------------------------


def test_answer_that_does_not_come_ends_at_the_limit() -> None:
    """A CA that accepts and is silent holds up nobody for ever."""
    ca, clock = FakeCa(), Clock()
    ca.script["dir"] = [HANG]
    found: list[Failure] = []
    Deferred.fromCoroutine(http(ca, clock).directory()).addErrback(found.append)
    clock.advance(REQUEST_LIMIT_S - 1)
    assert not found
    clock.advance(1)
    assert isinstance(found[0].value, AcmeError)
    assert found[0].value.kind == "transport"
    assert "did not answer in 30 s" in found[0].value.reason


def test_huge_answer_is_refused() -> None:
    """What a stranger makes us keep is bounded."""
    ca = FakeCa()
    ca.script["dir"] = [Scripted(200, b"x" * (BODY_LIMIT_BYTES + 1))]
    assert "larger than 1 MiB" in refused(http(ca).directory()).reason


def test_refused_connection_is_told_with_the_url() -> None:
    """The person who reads it knows whom to ask."""

    @implementer(IAgent)
    class Nobody:
        def request(self, *args: Any, **more: Any) -> Deferred[Any]:
            failed: Deferred[Any] = Deferred()
            failed.errback(Refused())
            return failed

    here = AcmeHttp(Clock(), HTTPClient(Nobody()), DIRECTORY, lambda: NOW)
    error = refused(here.directory())
    assert error.kind == "transport"
    assert DIRECTORY in error.reason
    assert "refused" in error.reason


def test_cancelling_ends_the_request() -> None:
    """At shutdown nothing is waited for."""
    ca, clock = FakeCa(), Clock()
    ca.script["dir"] = [HANG]
    found: list[Failure] = []
    waiting = Deferred.fromCoroutine(http(ca, clock).directory())
    waiting.addErrback(found.append)
    waiting.cancel()
    assert len(found) == 1
    assert isinstance(found[0].value, CancelledError)
    assert not clock.getDelayedCalls()


def cancelled(http_client: HTTPClient, clock: Clock) -> list[Failure]:
    """Return what a request ends with that is cancelled."""
    found: list[Failure] = []
    here = AcmeHttp(clock, http_client, DIRECTORY, lambda: NOW)
    waiting = Deferred.fromCoroutine(here.directory())
    waiting.addErrback(found.append)
    assert not found, "it does not wait"
    waiting.cancel()
    return found


@pytest.mark.parametrize(
    "told",
    [
        DNSLookupError("Couldn't find the hostname '127.0.0.1'"),
        ConnectingCancelledError(None),
        ResponseNeverReceived([Failure(ConnectionLost())]),
        ResponseFailed([Failure(CancelledError())]),
        ValueError("anything"),
    ],
)
def test_cancelled_request_is_cancelled_whatever_twisted_says(told: Exception) -> None:
    """Found in CI: a cancelled look-up is a "name that cannot be found"."""

    @implementer(IAgent)
    class Telling:
        def request(self, *args: Any, **more: Any) -> Deferred[Any]:
            return Deferred(lambda asked: asked.errback(told))

    found = cancelled(HTTPClient(Telling()), Clock())
    assert [type(one.value) for one in found] == [CancelledError]


def test_cancelled_look_up_of_the_name_is_cancelled() -> None:
    """With Twisted's own client, whose resolver has not answered yet."""

    @implementer(IHostnameResolver)
    class Silent:
        """A resolver that never answers."""

        def resolveHostName(self, *args: Any, **more: Any) -> Any:  # noqa: N802
            """Look for ever."""

    reactor = MemoryReactorClock()
    reactor.installNameResolver(Silent())
    found = cancelled(HTTPClient(Agent(reactor)), reactor)
    assert [type(one.value) for one in found] == [CancelledError]
    assert not reactor.getDelayedCalls()


def test_cancelled_body_is_cancelled_when_the_connection_ends_at_once() -> None:
    """The end of the connection is our doing, not the CA's."""

    class Response:
        """A body that does not come."""

        code = 200
        headers = Headers()

        def deliverBody(self, protocol: Any) -> None:  # noqa: N802  (Twisted)
            self.protocol = protocol
            protocol.makeConnection(self)

        def loseConnection(self) -> None:  # noqa: N802  (Twisted)
            self.protocol.connectionLost(Failure(ConnectionLost()))

    @implementer(IAgent)
    class Answering:
        def request(self, *args: Any, **more: Any) -> Deferred[Any]:
            return succeed(Response())

    clock = Clock()
    found = cancelled(HTTPClient(Answering()), clock)
    assert [type(one.value) for one in found] == [CancelledError]
    assert not clock.getDelayedCalls()


def test_clock_that_is_asked_is_ours() -> None:
    """A date in Retry-After counts from the given now."""
    later: datetime = NOW + timedelta(minutes=10)
    ca = FakeCa()
    stamp = f"{later:%a, %d %b %Y %H:%M:%S} GMT"
    ca.script["order"] = [problem(503, "serverInternal", Retry_After=stamp)]
    assert posting(ca).retry_after_s == 600.0
