"""The whole data path on real sockets: the ordinary cases."""

from __future__ import annotations

import datetime as dt
import socket
import ssl
import threading
from pathlib import Path

from cryptography import x509

from haloy.model.app import ProxyOptions
from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import DomainName
from haloy.proxy.tls.contexts import SniContexts
from tests.proxy.apps import OK, one_request
from tests.proxy.conftest import Starter
from tests.proxy.support import (
    Peer,
    answering,
    backend,
    connect,
    connect_tls,
    echoing,
    get,
    in_thread,
    make_certificate,
)


async def test_get(start_proxy: Starter) -> None:
    """Requests on one connection reach the app on one connection, and are logged."""
    running = start_proxy()
    with backend(answering(OK)) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect(running.http)
            peer.send(get(User_Agent="me/1"))
            first = peer.response()
            peer.send(get(target="/2"))
            assert peer.response() == first
            return first[2]

        assert await in_thread(client) == b"hello"
    assert one.connections == 1
    first, second = running.records
    assert (first.status, first.target, first.user_agent) == (200, "/", "me/1")
    assert (second.status, second.target, second.bytes_out) == (200, "/2", 5)
    assert first.app == "app"
    assert first.upstream
    assert first.request_id != second.request_id
    assert 0 < first.head_s <= first.total_s < 5
    assert first.client == "127.0.0.1"


async def test_tls(start_proxy: Starter) -> None:
    """Over TLS the app learns the scheme; the session is resumed by a second client."""
    running = start_proxy(plain=False)
    with backend(echoing) as one:
        await running.serve(one)

        def client() -> bytes:
            peer = connect_tls(running.https)
            peer.send(get(Connection="close"))
            return peer.response()[2]

        assert b"X-Forwarded-Proto: https\r\n" in await in_thread(client)


TRACE = b"00-" + b"4" * 32 + b"-" + b"7" * 16 + b"-00"


async def test_what_the_app_sees(start_proxy: Starter) -> None:
    """Forwarding fields are ours; nothing is invented, nothing else is changed."""
    running = start_proxy()
    with backend(echoing) as one:
        await running.serve(one)
        request = (
            b"GET /a%2Fb?x=1;y=2&z=3 HTTP/1.1\r\nhost: App.Example.com:80\r\n"
            b"X-Forwarded-For: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n"
            b"X-Request-ID: mine-1\r\nCookie: a=b\r\n"
            b"Traceparent: " + TRACE + b"\r\n\r\n"
        )
        status, _, seen = await in_thread(one_request, running.http, request)
    assert status == 200
    assert seen == (
        b"GET /a%2Fb?x=1;y=2&z=3 HTTP/1.1\r\nHost: App.Example.com:80\r\n"
        b"Cookie: a=b\r\nX-Forwarded-For: 127.0.0.1\r\n"
        b"X-Forwarded-Host: App.Example.com:80\r\nX-Forwarded-Proto: http\r\n"
        b"X-Request-ID: mine-1\r\ntraceparent: " + TRACE + b"\r\n\r\n"
    )


async def test_a_trusted_proxy_in_front(start_proxy: Starter) -> None:
    """Its word on client, scheme and host counts, for the app and in the log (P9)."""
    running = start_proxy(plain=False, trusted_proxies=["127.0.0.0/8"])
    with backend(echoing) as one:
        await running.serve(one)
        request = get(
            X_Forwarded_For="192.0.2.7", X_Forwarded_Proto="https", Connection="close"
        )
        status, _, seen = await in_thread(one_request, running.http, request)
    assert status == 200
    assert b"X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n" in seen
    assert b"X-Forwarded-Proto: https\r\n" in seen
    assert running.records[0].client == "192.0.2.7"


async def test_redirects_to_https(start_proxy: Starter) -> None:
    """Plain requests for known names go to the public port; the rest is refused."""
    running = start_proxy(plain=False, public_https=8443)
    with backend(answering(OK)) as one:
        await running.serve(one, aliases=["www.example.com"])
        status, fields, _ = await in_thread(
            one_request, running.http, get("www.example.com", "/a%2Fb?c")
        )
        assert (status, fields["location"]) == (
            301,
            "https://app.example.com:8443/a%2Fb?c",
        )
        status, _, _ = await in_thread(one_request, running.http, get("evil.example"))
        assert status == 404
        old = b"GET / HTTP/1.0\r\n\r\n"
        status, _, _ = await in_thread(one_request, running.http, old)
        assert status == 400
        post = (
            b"POST /x HTTP/1.1\r\nHost: app.example.com\r\n"
            b"Content-Length: 4\r\n\r\nabcd"
        )
        status, fields, _ = await in_thread(one_request, running.http, post)
        assert (status, fields["connection"]) == (308, "close")
    # Everything is in the log, redirects and unknown names too (spec P19).
    assert [record.status for record in running.records] == [301, 404, 400, 308]
    assert one.connections == 0


async def test_names_of_one_connection(start_proxy: Starter) -> None:
    """A Host of another app than the handshake's name is misdirected (spec P8)."""
    running = start_proxy(plain=False)
    with backend(answering(OK)) as one, backend(answering(OK)) as api:
        await running.serve(one, api=api)

        def client(name: str | None, host: str) -> int:
            peer = connect_tls(running.https, name)
            peer.send(get(host))
            return peer.response()[0]

        assert await in_thread(client, "app.example.com", "app.example.com") == 200
        assert await in_thread(client, "api.example.com", "app.example.com") == 421
        assert await in_thread(client, "api.example.com", "api.example.com") == 200
        assert await in_thread(client, None, "app.example.com") == 200


async def test_challenges(start_proxy: Starter) -> None:
    """HTTP-01 is answered while it is presented, before the redirect."""
    running = start_proxy(plain=False)
    challenge = Challenge(
        ChallengeKind.HTTP_01, DomainName("new.example.com"), "tok", "tok.thumb"
    )
    request = get("new.example.com", "/.well-known/acme-challenge/tok")
    await running.proxy.present(challenge)
    status, fields, body = await in_thread(one_request, running.http, request)
    assert (status, body) == (200, b"tok.thumb")
    assert fields["content-type"].startswith("text/plain")
    await running.proxy.withdraw(challenge)
    assert (await in_thread(one_request, running.http, request))[0] == 404


async def test_fields_of_the_app(start_proxy: Starter) -> None:
    """HSTS and configured fields are added; HSTS on TLS alone."""
    running = start_proxy(plain=False)
    options = ProxyOptions(
        hsts_max_age_s=60, response_headers=(("X-Frame-Options", "DENY"),)
    )
    answer = b"HTTP/1.1 200 OK\r\nx-frame-options: ALLOW\r\nContent-Length: 0\r\n\r\n"
    with backend(answering(answer)) as one:
        await running.serve(one, options=options)

        def client() -> bytes:
            peer = connect_tls(running.https)
            peer.send(get())
            return peer.head()

        head = await in_thread(client)
    assert b"Strict-Transport-Security: max-age=60\r\n" in head
    assert b"X-Frame-Options: DENY\r\n" in head
    assert b"ALLOW" not in head


async def test_a_body_beyond_the_limit(start_proxy: Starter) -> None:
    """413 comes at once for a length, in the middle for chunks."""
    running = start_proxy()
    with backend(echoing) as one:
        await running.serve(one, options=ProxyOptions(max_body_bytes=10))
        head = b"POST / HTTP/1.1\r\nHost: app.example.com\r\n"
        known = head + b"Content-Length: 11\r\n\r\n01234567890"
        assert (await in_thread(one_request, running.http, known))[0] == 413
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n"
        assert (await in_thread(one_request, running.http, chunked))[0] == 413


async def test_the_api(start_proxy: Starter, tmp_path: Path) -> None:
    """The API is behind a socket; its last X-Forwarded-For is the client itself."""
    running = start_proxy(plain=False, trusted_proxies=["127.0.0.1"])
    with backend(echoing, tmp_path / "api.sock") as api:
        await running.serve(api=api)

        def client() -> bytes:
            peer = connect_tls(running.https, "api.example.com")
            peer.send(get("api.example.com", X_Forwarded_For="192.0.2.9"))
            return peer.response()[2]

        seen = await in_thread(client)
    assert b"X-Forwarded-For: 192.0.2.9\r\n" in seen

    def without() -> tuple[int, dict[str, str], bytes]:
        peer = connect_tls(running.https, "api.example.com")
        peer.send(get("api.example.com"))
        return peer.response()

    status, fields, body = await in_thread(without)
    assert (status, fields["x-haloy-error"]) == (503, "unavailable")
    assert fields["content-type"].startswith("text/plain")
    assert body.count(b"\n") == 1


async def test_ipv6(start_proxy: Starter) -> None:
    """An empty host listens on IPv4 and IPv6; peers are written plainly."""
    running = start_proxy(http=":0")

    def client(address: str) -> bytes:
        peer = Peer(socket.create_connection((address, running.http), 5))
        peer.send(get())
        return peer.response()[2]

    with backend(echoing) as one:
        await running.serve(one)
        assert b"X-Forwarded-For: ::1\r\n" in await in_thread(client, "::1")
        assert b"X-Forwarded-For: 127.0.0.1\r\n" in await in_thread(client, "127.0.0.1")


def certificate(*names: str) -> Certificate:
    chain, key = make_certificate(*names)
    now = dt.datetime.now(dt.UTC)
    return Certificate(
        DomainName(names[0]),
        frozenset(DomainName(name) for name in names),
        chain,
        Secret(key),
        now,
        now + dt.timedelta(days=1),
    )


async def test_certificates_are_replaced(start_proxy: Starter) -> None:
    """Names get their certificate, unknown ones an alert; what stands goes on."""
    running = start_proxy(plain=False, contexts=SniContexts())
    with backend(answering(OK)) as one:
        await running.serve(one)

        def subject(name: str) -> str:
            peer = connect_tls(running.https, name)
            assert isinstance(peer.socket, ssl.SSLSocket)
            der = peer.socket.getpeercert(binary_form=True)
            assert der is not None
            return x509.load_der_x509_certificate(der).subject.rfc4514_string()

        def refused(name: str | None) -> bool:
            try:
                connect_tls(running.https, name)
            except ssl.SSLError as error:
                return "UNRECOGNIZED_NAME" in str(error)
            return False

        assert await in_thread(refused, "app.example.com")
        await running.proxy.replace_certificates((certificate("app.example.com"),))
        assert await in_thread(subject, "app.example.com") == "CN=app.example.com"
        assert await in_thread(refused, "other.example.com")
        assert await in_thread(refused, None)

        def standing() -> Peer:
            peer = connect_tls(running.https)
            peer.send(get())
            assert peer.response()[0] == 200
            return peer

        peer = await in_thread(standing)
        await running.proxy.replace_certificates((certificate("new.example.com"),))
        assert await in_thread(refused, "app.example.com")

        def again() -> int:
            peer.send(get())
            return peer.response()[0]

        assert await in_thread(again) == 200


async def test_ticket_keys_are_renewed_daily(start_proxy: Starter) -> None:
    """After a day the contexts are told to use new keys."""
    now = [1000.0]
    contexts = Renewed()
    start_proxy(plain=False, clock=lambda: now[0], contexts=contexts)
    now[0] += 86401
    await in_thread(contexts.event.wait, 5)
    assert contexts.event.is_set()


class Renewed(SniContexts):
    def __init__(self) -> None:
        self.event = threading.Event()
        super().__init__()
        self.event.clear()

    def renew(self, keys: Secret | None = None) -> None:
        super().renew(keys)
        self.event.set()
