"""What proves to a CA that a name is ours: the answers to its challenges."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy.json_util import encode_b64jose

from haloy.certs.jose import key_pem
from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import DomainName

#: The extension C{acmeIdentifier} (RFC 8737 section 3).
ACME_IDENTIFIER = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31")

#: How long a validation certificate says it is valid; nobody looks.
_VALIDATION_LIFE = timedelta(days=7)


def make_challenge(
    kind: ChallengeKind,
    name: DomainName,
    token: str,
    key_authorization: str,
    now: datetime,
) -> Challenge:
    """Return the challenge with what has to be shown for it."""
    certificate = None
    if kind is ChallengeKind.TLS_ALPN_01:
        certificate = validation_certificate(name, key_authorization, now)
    return Challenge(kind, name, token, key_authorization, certificate)


def dns_value(key_authorization: str) -> str:
    """Return what the TXT record has to say (RFC 8555 section 8.4)."""
    return encode_b64jose(hashlib.sha256(key_authorization.encode()).digest())


def record_name(name: DomainName) -> str:
    """Return the name of the TXT record for C{name}, no dot at the end."""
    return "_acme-challenge." + name.removeprefix("*.")


def preferred(
    offered: Sequence[Mapping[str, Any]], order: Sequence[ChallengeKind]
) -> tuple[ChallengeKind, Mapping[str, Any]] | None:
    """Return the first kind of C{order} that is among C{offered}, and the offer."""
    by_type = {one.get("type"): one for one in offered}
    for kind in order:
        if kind.value in by_type:
            return kind, by_type[kind.value]
    return None


def validation_certificate(
    name: DomainName, key_authorization: str, now: datetime
) -> Certificate:
    """Return what to present for TLS-ALPN-01 (RFC 8737 section 3): self-signed."""
    digest = hashlib.sha256(key_authorization.encode()).digest()
    identifier = x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + digest)
    return self_signed(name, (name,), now, _VALIDATION_LIFE, identifier)


def self_signed(
    name: DomainName,
    names: tuple[DomainName, ...],
    now: datetime,
    life: timedelta,
    critical: x509.ExtensionType | None = None,
) -> Certificate:
    """Return a certificate for C{names} that no authority has signed.

    @param critical: one more extension.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "haloy")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(one) for one in names]),
            critical=False,
        )
    )
    if critical is not None:
        builder = builder.add_extension(critical, critical=True)
    signed = builder.sign(key, hashes.SHA256())
    return Certificate(
        name=name,
        names=frozenset(names),
        chain=signed.public_bytes(serialization.Encoding.PEM),
        key=Secret(key_pem(key)),
        not_before=signed.not_valid_before_utc,
        not_after=signed.not_valid_after_utc,
        issuer=signed.issuer.rfc4514_string(),
    )
