"""Certificates for tests, of any age, signed by themselves or by a CA of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from attrs import evolve, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from haloy.certs.pem import parse_pem
from haloy.model.certificate import Certificate

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@frozen
class Signer:
    """A CA: its certificate and key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_signer(name: str = "test CA", now: datetime = NOW) -> Signer:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 365 * DAY)
        .not_valid_after(now + 3650 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return Signer(certificate, key)


SIGNER = make_signer()


def sign(
    names: tuple[str, ...],
    public_key: ec.EllipticCurvePublicKey,
    since: datetime,
    life: timedelta,
    signer: Signer = SIGNER,
) -> x509.Certificate:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(signer.certificate.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(since + life)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
            critical=True,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()),
            critical=False,
        )
        .sign(signer.key, hashes.SHA256())
    )


def make_pem(
    *names: str,
    since: datetime = NOW,
    life: timedelta = 90 * DAY,
    signer: Signer = SIGNER,
) -> bytes:
    """Return key, leaf and chain."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = sign(names, key.public_key(), since, life, signer)
    pem = serialization.Encoding.PEM
    return b"".join(
        (
            key.private_bytes(
                pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            leaf.public_bytes(pem),
            signer.certificate.public_bytes(pem),
        )
    )


def make(
    *names: str,
    since: datetime = NOW,
    life: timedelta = 90 * DAY,
    directory: str = "",
    called: str = "",
) -> Certificate:
    """Return one that was obtained from C{directory}; C{""}: put there by hand."""
    made = parse_pem(called or names[0], make_pem(*names, since=since, life=life))
    return evolve(made, manual=not directory, directory=directory)
