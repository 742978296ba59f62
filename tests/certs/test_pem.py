"""What C{certs.pem} reads and writes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from haloy.certs.pem import leaf, obtained, parse_pem, render_pem
from haloy.errors import CertificateError
from haloy.model.certificate import Secret
from tests.support.certificates import DAY, NOW, SIGNER, make, make_pem, sign

PEM = make_pem("shop.example.com", "WWW.Shop.example.com")


def blocks(pem: bytes) -> list[bytes]:
    """Return the PEM blocks one by one: key, leaf, chain."""
    parts = pem.split(b"-----BEGIN ")[1:]
    return [b"-----BEGIN " + part for part in parts]


def test_key_and_chain_are_read_in_any_order() -> None:
    """The leaf is the one whose key is there, and comes first."""
    key, first, root = blocks(PEM)
    expected = parse_pem("shop.example.com", PEM)
    assert expected.names == {"shop.example.com", "www.shop.example.com"}
    assert (expected.not_before, expected.not_after) == (NOW, NOW + 90 * DAY)
    assert expected.issuer == "CN=test CA"
    for content in (root + first + key, first + key + root, b"text\n" + PEM):
        assert parse_pem("shop.example.com", content) == expected
    assert leaf(expected).serial_number != SIGNER.certificate.serial_number


def test_rsa_key_is_as_good() -> None:
    """People bring what they have, also in the old form of a key."""
    key = rsa.generate_private_key(65537, 2048)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + DAY)
        .sign(key, hashes.SHA256())
    )
    old = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    found = parse_pem("a", old + certificate.public_bytes(serialization.Encoding.PEM))
    assert found.names == frozenset()
    assert b"RSA" not in found.key.value


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no private key"),
        (b"\xff\x00 nonsense", "no private key"),
        (b"".join(blocks(PEM)[1:]), "no private key"),
        (blocks(PEM)[0], "cannot be read"),
        (PEM[:-200] + b"\n-----END CERTIFICATE-----\n", "cannot be read"),
        (blocks(PEM)[0] + b"".join(blocks(make_pem("a.example.com"))[1:]), "match"),
        (
            blocks(PEM)[0].replace(b"PRIVATE", b"ENCRYPTED PRIVATE")
            + b"".join(blocks(PEM)[1:]),
            "cannot be read",
        ),
    ],
)
def test_what_cannot_be_served_is_refused(content: bytes, reason: str) -> None:
    """The reason says what to look for and shows nothing of the key."""
    with pytest.raises(CertificateError, match=reason) as caught:
        parse_pem("shop.example.com", content)
    assert caught.value.domain == "shop.example.com"
    assert "PRIVATE" not in str(caught.value)


def test_key_that_browsers_do_not_take_is_refused() -> None:
    """Ed25519 loads and is then of no use."""
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(CertificateError, match="neither ECDSA nor RSA"):
        parse_pem("a", pem + blocks(PEM)[1])


def test_file_says_where_it_came_from() -> None:
    """Without that it was put there by hand, and stays."""
    ours = obtained("shop.example.com", PEM, "https://ca.example/dir")
    assert (ours.manual, ours.directory) == (False, "https://ca.example/dir")
    assert parse_pem("shop.example.com", render_pem(ours)) == ours
    theirs = parse_pem("shop.example.com", PEM)
    assert (theirs.manual, theirs.directory) == (True, "")
    assert parse_pem("shop.example.com", render_pem(theirs)) == theirs
    middle = PEM + b"# obtained by haloyd from https://ca.example/dir\n"
    assert parse_pem("shop.example.com", middle).manual


def test_key_does_not_show() -> None:
    """Certificates end up in logs and tracebacks."""
    shown = repr(make("shop.example.com"))
    assert "PRIVATE" not in shown
    assert evolve(make("a.example.com"), key=Secret(b"x")).key.value == b"x"


WEAK = [
    (
        rsa.generate_private_key(65537, 1024),
        "RSA key has 1024 bits; 2048 are the least",
    ),
    (ec.generate_private_key(ec.SECP256K1()), "on secp256k1, which clients do not"),
    (ec.generate_private_key(ec.BrainpoolP256R1()), "brainpoolP256r1, which clients"),
]


@pytest.mark.parametrize(("key", "reason"), WEAK, ids=["rsa", "koblitz", "brainpool"])
def test_key_that_locks_everybody_out_is_refused(key: Any, reason: str) -> None:
    """OpenSSL would not load it, or no browser would shake hands."""
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    made = sign(("a.example.com",), key.public_key(), NOW, DAY)
    with pytest.raises(CertificateError, match=reason):
        parse_pem("a.example.com", pem + made.public_bytes(serialization.Encoding.PEM))


def test_signature_that_is_broken_is_refused(tmp_path: Path) -> None:
    """SHA-1: OpenSSL does not load it either; one that signs itself does not matter."""
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha1")
    made = []
    for what, more in (("ca", ()), ("leaf", ("-CA", "ca.pem", "-CAkey", "ca.key"))):
        files = ("-keyout", f"{what}.key", "-out", f"{what}.pem")
        names = ("-addext", "subjectAltName=DNS:a.example.com", "-subj", f"/CN={what}")
        done = subprocess.run(
            [*new, *files, *names, *more],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        pem = (tmp_path / f"{what}.key").read_bytes()
        made.append(pem + (tmp_path / f"{what}.pem").read_bytes())
    assert parse_pem("a.example.com", made[0]).names == {"a.example.com"}
    with pytest.raises(CertificateError, match="signed with sha1, which is broken"):
        parse_pem("a.example.com", made[1])
