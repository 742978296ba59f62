"""What C{proxy.tls_policy} lets a client choose."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName
from haloy.proxy.tls.policy import context_of, limit_groups, offered
from tests.proxy.tls.test_contexts import certificate

OPENSSL = shutil.which("openssl")


def negotiated(*options: str) -> str:
    """Return the cipher that the openssl command gets with C{options}, C{""}: none."""
    context = context_of(certificate("shop.example.com"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken: list[str] = []

        def serve() -> None:
            connection, _ = listening.accept()
            try:
                with context.wrap_socket(connection, server_side=True) as tls:
                    taken.append((tls.cipher() or ("",))[0])
            except OSError:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        port = listening.getsockname()[1]
        subprocess.run(
            [str(OPENSSL), "s_client", "-connect", f"127.0.0.1:{port}", *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
        thread.join()
    return "".join(taken)


@pytest.mark.skipif(OPENSSL is None, reason="the openssl command is not installed")
@pytest.mark.parametrize(
    ("group", "taken"),
    [
        ("X25519", True),
        ("P-256", True),
        ("P-384", True),
        ("P-521", False),
        ("X448", False),
        ("ffdhe2048", False),
    ],
)
def test_three_groups_are_taken(group: str, taken: bool) -> None:
    """OpenSSL's own list has more than reliability.md section 2 allows."""
    assert limit_groups()
    assert bool(negotiated("-groups", group)) is taken


@pytest.mark.skipif(OPENSSL is None, reason="the openssl command is not installed")
@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"), 1),
        (("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"), 1),
        (("TLS_AES_256_GCM_SHA384",), 0),
        (("TLS_CHACHA20_POLY1305_SHA256",), 0),
    ],
)
def test_the_cheapest_suite_of_tls_1_3_comes_first(
    names: tuple[str, ...], chosen: int
) -> None:
    """Whatever the client's order; one that has another alone is served with it."""
    assert negotiated("-ciphersuites", ":".join(names)) == names[chosen]


def test_ciphers_are_forward_secret_and_authenticated() -> None:
    """P18: neither CBC nor static RSA, on any version."""
    context = context_of(certificate("shop.example.com"))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    for cipher in context.get_ciphers():
        assert cipher["aead"]
        assert cipher["protocol"] == "TLSv1.3" or cipher["name"].startswith("ECDHE-")


def test_key_that_does_not_belong_is_refused() -> None:
    """The reason names the certificate."""
    one, other = certificate("shop.example.com"), certificate("other.example.com")
    mixed = Certificate(
        name=DomainName("shop.example.com"),
        names=one.names,
        chain=one.chain,
        key=other.key,
        not_before=one.not_before,
        not_after=one.not_after,
    )
    with pytest.raises(Exception, match=r"shop\.example\.com cannot be used"):
        context_of(mixed)


def test_secrets_do_not_show() -> None:
    """Neither in a repr nor in an error."""
    assert "***" in repr(Secret(b"key"))
    assert "key" not in repr(Secret(b"key"))


def test_http2_is_offered_first_or_not_at_all() -> None:
    """As C{proxy.http2} of haloyd.yaml says."""
    assert offered(http2=True) == ("h2", "http/1.1")
    assert offered(http2=False) == ("http/1.1",)
