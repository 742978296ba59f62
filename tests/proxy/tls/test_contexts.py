"""What C{proxy.tls} serves to which name."""

from __future__ import annotations

import select
import socket
import ssl
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import FrameType
from typing import cast

import pytest
from attrs import define
from cryptography import x509
from twisted.logger import ILogObserver, LogEvent, LogLevel, globalLogPublisher

from haloy.certs.challenge import ACME_IDENTIFIER, make_challenge
from haloy.errors import CertificateError
from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import DomainName
from haloy.proxy.tls.contexts import NameRefused, SniContexts, ValidationAnswered
from tests.proxy.conftest import Starter
from tests.proxy.support import in_thread, make_certificate

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def certificate(*names: str) -> Certificate:
    chain, key = make_certificate(*names)
    return Certificate(
        name=DomainName(names[0]),
        names=frozenset(DomainName(name) for name in names),
        chain=chain,
        key=Secret(key),
        not_before=NOW,
        not_after=NOW,
    )


@define
class Seen:
    """What a client got."""

    names: set[str]
    version: str | None
    resumed: bool
    session: ssl.SSLSession | None
    server_name: str | None


def handshake(
    contexts: SniContexts,
    name: str | None,
    session: ssl.SSLSession | None = None,
    client: ssl.SSLContext | None = None,
) -> Seen:
    """Shake hands over a socket pair and say what was seen."""
    ours, theirs = socket.socketpair()
    asked: list[str | None] = []

    def serve() -> None:
        try:
            with contexts.context.wrap_socket(ours, server_side=True) as served:
                asked.append(contexts.server_name(served))
                served.sendall(b"x")
                served.recv(1)
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        client = client or client_context()
        with client.wrap_socket(
            theirs, server_hostname=name, session=session
        ) as connection:
            connection.recv(1)
            der = connection.getpeercert(binary_form=True)
            assert der is not None
            seen = Seen(
                names_in(der),
                connection.version(),
                bool(connection.session_reused),
                connection.session,
                None,
            )
            connection.sendall(b"y")
    finally:
        theirs.close()
        thread.join()
    seen.server_name = asked[0]
    return seen


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def names_in(der: bytes) -> set[str]:
    loaded = x509.load_der_x509_certificate(der)
    san = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return set(san.value.get_values_for_type(x509.DNSName))


@pytest.fixture
def contexts() -> SniContexts:
    served = SniContexts()
    served.replace(
        (
            certificate("shop.example.com", "www.shop.example.com"),
            certificate("*.wild.example.com"),
        )
    )
    return served


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        ("shop.example.com", "shop.example.com"),
        ("www.shop.example.com", "shop.example.com"),
        ("SHOP.Example.COM", "shop.example.com"),
        ("one.wild.example.com", "*.wild.example.com"),
    ],
)
def test_certificate_is_chosen_by_name(
    contexts: SniContexts, asked: str, served: str
) -> None:
    """P17: any letter case; exact, alias, then wildcard."""
    seen = handshake(contexts, asked)
    assert served in seen.names
    assert seen.server_name == asked.lower()
    assert contexts.has(asked)


@pytest.mark.parametrize(
    "asked", ["other.example.com", "a.b.wild.example.com", "wild.example.com", None]
)
def test_unknown_name_gets_an_alert(contexts: SniContexts, asked: str | None) -> None:
    """P16: no certificate of somebody else, no default one, and no traceback."""
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        handshake(contexts, asked)
    assert contexts.unknown == 1


def test_old_protocols_and_ciphers_are_refused(contexts: SniContexts) -> None:
    """P18: no CBC-SHA suite on TLS 1.2."""
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA")
    with pytest.raises(ssl.SSLError):
        handshake(contexts, "shop.example.com", client=client)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_resume_across_a_swap(
    contexts: SniContexts, version: ssl.TLSVersion
) -> None:
    """A renewed certificate does not cost every visitor a full handshake."""
    client = client_context()
    client.maximum_version = client.minimum_version = version
    first = handshake(contexts, "shop.example.com", client=client)
    contexts.replace((certificate("shop.example.com"),))
    again = handshake(contexts, "shop.example.com", first.session, client)
    assert not first.resumed
    assert again.resumed


def test_renewed_base_context_has_new_ticket_keys(contexts: SniContexts) -> None:
    """Yesterday's tickets are worth nothing."""
    client = client_context()
    first = handshake(contexts, "shop.example.com", client=client)
    contexts.renew()
    assert not handshake(contexts, "shop.example.com", first.session, client).resumed


def test_bad_certificate_leaves_the_good_one(contexts: SniContexts) -> None:
    """A broken file never locks anyone out."""
    broken = certificate("shop.example.com")
    other = certificate("shop.example.com")
    mixed = Certificate(
        name=broken.name,
        names=broken.names,
        chain=broken.chain,
        key=other.key,
        not_before=NOW,
        not_after=NOW,
    )
    contexts.replace((mixed,))
    seen = handshake(contexts, "shop.example.com")
    assert seen.names == {"shop.example.com", "www.shop.example.com"}


def test_removed_name_is_no_longer_served(contexts: SniContexts) -> None:
    """An app that was stopped gives up its certificate."""
    contexts.replace(())
    with pytest.raises(ssl.SSLError):
        handshake(contexts, "shop.example.com")


def test_certificate_called_by_the_name_goes_first(contexts: SniContexts) -> None:
    """One put there by hand is not hidden by another that covers its name too."""
    contexts.replace(
        (
            certificate("www.example.com"),
            certificate("example.com", "www.example.com", "shop.example.com"),
        )
    )
    assert handshake(contexts, "www.example.com").names == {"www.example.com"}
    assert "example.com" in handshake(contexts, "shop.example.com").names


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (ssl.TLSVersion.TLSv1_2, "shop.example.com"),
        (ssl.TLSVersion.TLSv1_3, "one.wild.example.com"),
    ],
)
def test_name_of_a_session_under_another_name(
    contexts: SniContexts, version: ssl.TLSVersion, name: str
) -> None:
    """P8: on TLS 1.2 a session keeps its name (RFC 6066), on 1.3 the hello counts."""
    client = client_context()
    client.maximum_version = client.minimum_version = version
    first = handshake(contexts, "shop.example.com", client=client)
    again = handshake(contexts, "one.wild.example.com", first.session, client)
    assert again.server_name == name


def test_keys_do_not_show(contexts: SniContexts) -> None:
    """A traceback with locals, or a log line, gives nothing away."""
    assert "PRIVATE" not in repr(contexts)


# --- TLS-ALPN-01 -------------------------------------------------------------------


def challenge(name: str, token: str = "token") -> Challenge:
    return make_challenge(
        ChallengeKind.TLS_ALPN_01, DomainName(name), token, f"{token}.print", NOW
    )


def offering(*protocols: str) -> ssl.SSLContext:
    client = client_context()
    client.set_alpn_protocols(list(protocols))
    return client


@contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Connect two ends over loopback; the second one does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        ours = socket.create_connection(listening.getsockname(), 5)
        theirs, _ = listening.accept()
    theirs.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def validate(contexts: SniContexts, name: str, *protocols: str) -> tuple[bytes, str]:
    """Look at C{name} as a CA does; return the certificate and the protocol."""
    ends: list[BaseException] = []
    with connected() as (ours, theirs):
        theirs.setblocking(True)

        def serve() -> None:
            try:
                contexts.context.wrap_socket(theirs, server_side=True).close()
            except OSError as end:
                ends.append(end)

        thread = threading.Thread(target=serve)
        thread.start()
        client = offering(*protocols)
        with client.wrap_socket(ours, server_hostname=name) as connection:
            der = connection.getpeercert(binary_form=True) or b""
            found = connection.selected_alpn_protocol() or ""
            thread.join()
    if found == "acme-tls/1":
        assert isinstance(ends[0], ValidationAnswered)
    return der, found


def test_validation_sees_the_answer_and_visitors_do_not(contexts: SniContexts) -> None:
    """RFC 8737: by name and protocol, while the challenge stands."""
    contexts.present_alpn(challenge("shop.example.com"))
    der, protocol = validate(contexts, "Shop.example.com", "acme-tls/1")
    shown = x509.load_der_x509_certificate(der).extensions
    assert protocol == "acme-tls/1"
    assert shown.get_extension_for_oid(ACME_IDENTIFIER).critical
    for offered in (("http/1.1",), ("acme-tls/1", "http/1.1"), ("h2",)):
        der, protocol = validate(contexts, "shop.example.com", *offered)
        assert "www.shop.example.com" in names_in(der)
        assert protocol != "acme-tls/1"
    contexts.withdraw_alpn(challenge("shop.example.com"))
    der, protocol = validate(contexts, "shop.example.com", "acme-tls/1")
    assert (protocol, "www.shop.example.com" in names_in(der)) == ("", True)


def test_validation_needs_no_certificate_yet() -> None:
    """The first certificate of a name is obtained like any other."""
    contexts = SniContexts()
    contexts.present_alpn(challenge("new.example.com"))
    _, protocol = validate(contexts, "new.example.com", "acme-tls/1")
    assert protocol == "acme-tls/1"


def test_withdrawing_an_old_challenge_leaves_the_new_one() -> None:
    """Two orders for one name may follow each other closely."""
    contexts = SniContexts()
    contexts.present_alpn(challenge("new.example.com", "old"))
    contexts.present_alpn(challenge("new.example.com", "new"))
    contexts.withdraw_alpn(challenge("new.example.com", "old"))
    _, protocol = validate(contexts, "new.example.com", "acme-tls/1")
    assert protocol == "acme-tls/1"


def test_only_its_own_kind_with_a_certificate_is_presented() -> None:
    """Anything else is a mistake of ours, told at once."""
    contexts = SniContexts()
    name = DomainName("a.example.com")
    for kind in ChallengeKind:
        with pytest.raises(CertificateError):
            contexts.present_alpn(Challenge(kind, name, "token", "token.print"))


# --- bytes ---------------------------------------------------------------------------


def hello_of(name: str, *protocols: str) -> bytes:
    sent = ssl.MemoryBIO()
    client = offering(*protocols or ("http/1.1",))
    bio = client.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        bio.do_handshake()
    return sent.read()


def readable(connection: socket.socket, timeout_s: float = 0.0) -> bool:
    """Return what epoll, and so the reactor, says."""
    with select.epoll() as poll:
        poll.register(connection, select.EPOLLIN)
        return bool(poll.poll(timeout_s))


def test_hello_in_pieces_does_not_keep_the_reactor_busy(contexts: SniContexts) -> None:
    """A client that stops in the middle costs nothing until more has come."""
    hello = hello_of("shop.example.com")
    with connected() as (ours, theirs):
        served = contexts.context.wrap_socket(
            theirs, server_side=True, do_handshake_on_connect=False
        )
        with served:
            for piece in (hello[:1], hello[1:7], hello[7:100]):
                ours.sendall(piece)
                readable(served, 0.2)  # lets it arrive
                with pytest.raises(ssl.SSLWantReadError):
                    served.do_handshake()
                assert not readable(served)
            ours.sendall(hello[100:])
            assert readable(served, 5)
            with pytest.raises(ssl.SSLWantReadError):  # for the client's Finished
                served.do_handshake()
            assert contexts.server_name(served) == "shop.example.com"
            assert served.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


def test_client_that_leaves_in_the_middle_ends_the_handshake(
    contexts: SniContexts,
) -> None:
    """The rest will not come, and is not waited for."""
    with connected() as (ours, theirs):
        served = contexts.context.wrap_socket(
            theirs, server_side=True, do_handshake_on_connect=False
        )
        with served:
            ours.sendall(hello_of("shop.example.com")[:50])
            readable(served, 0.2)
            with pytest.raises(ssl.SSLWantReadError):
                served.do_handshake()
            ours.shutdown(socket.SHUT_WR)
            assert readable(served, 5)
            with pytest.raises(ssl.SSLError) as caught:
                served.do_handshake()
            assert not isinstance(caught.value, ssl.SSLWantReadError)


def test_name_that_is_no_text_gets_the_alert_and_no_traceback(
    contexts: SniContexts, capfd: pytest.CaptureFixture[str]
) -> None:
    """P16: the ssl module would write one to stderr for each."""
    hello = hello_of("shop.example.com").replace(b"shop.example", b"sh\xffp.example")
    with connected() as (ours, theirs):
        ours.sendall(hello)
        assert readable(theirs, 5)
        served = contexts.context.wrap_socket(
            theirs, server_side=True, do_handshake_on_connect=False
        )
        with served:
            with pytest.raises(NameRefused):
                served.do_handshake()
            assert ours.recv(100) == b"\x15\x03\x03\x00\x02\x02\x70"
    assert contexts.unknown == 1
    assert capfd.readouterr() == ("", "")


def test_plain_http_is_answered_by_the_tls_library(contexts: SniContexts) -> None:
    """What is no hello is not held up."""
    with connected() as (ours, theirs):
        ours.sendall(b"GET / HTTP/1.1\r\nHost: shop.example.com\r\n\r\n")
        assert readable(theirs, 5)
        served = contexts.context.wrap_socket(
            theirs, server_side=True, do_handshake_on_connect=False
        )
        with served, pytest.raises(ssl.SSLError, match=r"(?i)http.request"):
            served.do_handshake()


@contextmanager
def calls_of_ssl() -> Iterator[list[str]]:
    """Yield the functions of the C{ssl} module, in Python, that are called."""
    seen: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename == ssl.__file__:
            seen.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        yield seen
    finally:
        sys.setprofile(None)


def test_message_passes_no_function_of_the_ssl_module(contexts: SniContexts) -> None:
    """What does not block takes the short way; its end is that of before."""
    with connected() as (ours, theirs), futures.ThreadPoolExecutor(1) as pool:
        served = contexts.context.wrap_socket(
            theirs, server_side=True, do_handshake_on_connect=False
        )
        shaking = pool.submit(
            client_context().wrap_socket, ours, server_hostname="shop.example.com"
        )
        while True:
            assert readable(served, 10)
            with suppress(ssl.SSLWantReadError):
                served.do_handshake()
                break
        with served, shaking.result(10) as client:
            assert contexts.server_name(served) == "shop.example.com"
            client.sendall(b"question")
            assert readable(served, 10)
            with calls_of_ssl() as calls:
                assert served.recv(65536) == b"question"
                assert served.send(b"answer") == 6
            assert calls == []
            assert client.recv(64) == b"answer"
            socket.socket.shutdown(client, socket.SHUT_WR)  # without close_notify
            assert readable(served, 10)
            assert served.recv(65536) == b""


def test_swaps_disturb_no_handshake(contexts: SniContexts) -> None:
    """A reload in the middle of everything."""
    sets = [
        (certificate("shop.example.com"), certificate("*.wild.example.com"))
        for _ in range(4)
    ]
    stop = threading.Event()

    def swap() -> None:
        while not stop.wait(0.001):
            contexts.replace(sets[0])
            sets.append(sets.pop(0))

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for number in range(40):
            name = f"app-{number}.wild.example.com"
            assert handshake(contexts, name).server_name == name
    finally:
        stop.set()
        thread.join()
    assert contexts.unknown == 0


async def test_flood_of_unknown_names_is_counted_and_not_logged(
    start_proxy: Starter, contexts: SniContexts, capfd: pytest.CaptureFixture[str]
) -> None:
    """P16: whoever scans for names costs no line each."""
    running = start_proxy(plain=False, contexts=contexts)
    lines: list[object] = []

    def observe(event: LogEvent) -> None:
        level = event.get("log_level")
        if level is not None and level >= LogLevel.info:
            lines.append(event)

    def scan() -> None:
        for number in range(50):
            with (
                socket.create_connection(("127.0.0.1", running.https), 10) as plain,
                pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"),
            ):
                client_context().wrap_socket(plain, server_hostname=f"app-{number}.org")

    globalLogPublisher.addObserver(cast(ILogObserver, observe))
    try:
        await in_thread(scan)
    finally:
        globalLogPublisher.removeObserver(cast(ILogObserver, observe))
    assert contexts.unknown == 50
    assert lines == []
    assert capfd.readouterr().err == ""
