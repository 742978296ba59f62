"""What C{proxy.tls} serves to which name."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime

import pytest
from attrs import define
from cryptography import x509

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.tls import SniContexts
from tests.proxy.support import make_certificate

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
