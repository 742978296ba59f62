"""Certificates as PEM text: key and chain in one file, and where it came from."""

from __future__ import annotations

import functools
import re
from typing import Final

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from haloy.errors import CertificateError
from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName

LEAST_RSA_BITS: Final = 2048
CURVES: Final = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_PUBLIC: Final = (
    serialization.Encoding.DER,
    serialization.PublicFormat.SubjectPublicKeyInfo,
)
_KEY: Final = re.compile(
    rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL
)
# Text before the first block is a comment (RFC 7468 section 2).
_ORIGIN: Final = re.compile(rb"\A# obtained by haloyd from (\S+)\r?\n")


def parse_pem(name: str, content: bytes) -> Certificate:
    """Return the certificate in C{content}: key and chain in any order.

    The leaf is the certificate whose key is there; it comes first in the chain.
    Without the comment of L{render_pem} it counts as put there by hand.

    @raise CertificateError: something is missing, does not belong together or
        cannot be served.
    """
    block = _KEY.search(content)
    if block is None:
        raise CertificateError("holds no private key", domain=name)
    try:
        chain = x509.load_pem_x509_certificates(content)
        key = serialization.load_pem_private_key(block[0] + b"\n", None)
        public = key.public_key().public_bytes(*_PUBLIC)
        found = [one for one in chain if _public(one) == public]
    except (ValueError, TypeError) as problem:
        raise CertificateError(f"cannot be read: {problem}", domain=name) from problem
    unfit = _unfit_key(key)
    if not unfit and not found:
        unfit = "key and certificate do not match"
    if not unfit:
        unfit = _unfit_signature(found[0])
    if unfit:
        raise CertificateError(unfit, domain=name)
    leaf = found[0]
    origin = _ORIGIN.match(content)
    pem = [leaf, *(one for one in chain if one != leaf)]
    return Certificate(
        name=DomainName(name),
        names=_names(leaf),
        chain=b"".join(one.public_bytes(serialization.Encoding.PEM) for one in pem),
        key=Secret(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        ),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issuer=leaf.issuer.rfc4514_string(),
        manual=origin is None,
        directory=origin[1].decode("ascii", "replace") if origin else "",
    )


def obtained(name: str, content: bytes, directory: str) -> Certificate:
    """Return what a CA has issued to us. @raise CertificateError: as L{parse_pem}."""
    return evolve(parse_pem(name, content), manual=False, directory=directory)


def render_pem(certificate: Certificate) -> bytes:
    """Return the file for C{certificate}: key, leaf, chain."""
    content = certificate.key.value.rstrip() + b"\n" + certificate.chain
    if certificate.manual:
        return content
    return f"# obtained by haloyd from {certificate.directory}\n".encode() + content


def leaf(certificate: Certificate) -> x509.Certificate:
    """Return the leaf."""
    return x509.load_pem_x509_certificate(certificate.chain)


def fingerprint(certificate: Certificate) -> str:
    """Return the SHA-256 of the leaf, as C{openssl x509 -fingerprint} has it."""
    return _fingerprint(certificate.chain)


@functools.lru_cache(maxsize=2048)
def _fingerprint(chain: bytes) -> str:
    """Every status has it; reading a certificate takes longer than all the rest."""
    return x509.load_pem_x509_certificate(chain).fingerprint(hashes.SHA256()).hex()


def _unfit_key(key: object) -> str:
    """Return why no client would be served with C{key}, C{""}: it is good enough.

    What OpenSSL refuses to load (its security level 2), and curves that no browser
    has: either would lock everybody out without a word.
    """
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < LEAST_RSA_BITS:
            return (
                f"its RSA key has {key.key_size} bits; {LEAST_RSA_BITS} are the least"
            )
    elif not isinstance(key, ec.EllipticCurvePrivateKey):
        return "its key is neither ECDSA nor RSA"
    elif not isinstance(key.curve, CURVES):
        return f"its key is on {key.curve.name}, which clients do not take"
    return ""


def _unfit_signature(leaf: x509.Certificate) -> str:
    """Return why OpenSSL would not load C{leaf}, C{""}: it does."""
    digest = leaf.signature_hash_algorithm
    if isinstance(digest, hashes.SHA1 | hashes.MD5) and leaf.issuer != leaf.subject:
        return f"it is signed with {digest.name}, which is broken"
    return ""


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(*_PUBLIC)


def _names(certificate: x509.Certificate) -> frozenset[DomainName]:
    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    found = extension.value.get_values_for_type(x509.DNSName)
    return frozenset(DomainName(one.lower()) for one in found)
