"""Signing for ACME: JWS with an EC P-256 key (RFC 7515, RFC 8555 section 6.2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy import jwa, jwk
from josepy.json_util import encode_b64jose


@frozen
class AccountKey:
    """The key of an account at a CA; its repr shows nothing of it."""

    _key: Any

    def __repr__(self) -> str:
        """Hide the key."""
        return "AccountKey(***)"

    @classmethod
    def generate(cls) -> AccountKey:
        """Return a new P-256 key."""
        return cls(jwk.JWKEC(key=ec.generate_private_key(ec.SECP256R1())))

    @classmethod
    def from_pem(cls, pem: bytes) -> AccountKey:
        """Return the key in C{pem}. @raise ValueError: there is no P-256 key in it."""
        key = serialization.load_pem_private_key(pem, None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.key_size != 256:
            raise ValueError("not an EC P-256 key")
        return cls(jwk.JWKEC(key=key))

    def to_pem(self) -> bytes:
        """Return the key as PEM."""
        return key_pem(self._key.key)

    def public(self) -> Mapping[str, Any]:
        """Return the public key as JWK."""
        found: Mapping[str, Any] = self._key.public_key().to_json()
        return found

    def thumbprint(self) -> str:
        """Return the thumbprint (RFC 7638), base64url."""
        return encode_b64jose(self._key.thumbprint())

    def sign(
        self, protected: Mapping[str, Any], payload: object | None
    ) -> dict[str, str]:
        """Return a flattened JWS; a C{payload} of C{None} is POST-as-GET."""
        return _flattened(jwa.ES256, self._key.key, protected, payload)


def external_binding(
    kid: str, mac_key: bytes, url: str, account: Mapping[str, Any]
) -> dict[str, str]:
    """Return the binding of a new account to one outside (RFC 8555 section 7.3.4).

    @param account: the account's public key as JWK.
    """
    return _flattened(jwa.HS256, mac_key, {"kid": kid, "url": url}, account)


def _flattened(
    algorithm: Any, key: Any, protected: Mapping[str, Any], payload: object | None
) -> dict[str, str]:
    body = b"" if payload is None else json.dumps(payload).encode()
    head = json.dumps({"alg": algorithm.name, **protected}).encode()
    parts = (encode_b64jose(head), encode_b64jose(body))
    return {
        "protected": parts[0],
        "payload": parts[1],
        "signature": encode_b64jose(algorithm.sign(key, ".".join(parts).encode())),
    }


def new_certificate_key() -> ec.EllipticCurvePrivateKey:
    """Return a new P-256 key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return C{key} as PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def signing_request(key: ec.EllipticCurvePrivateKey, names: tuple[str, ...]) -> str:
    """Return a request for C{names} as base64url of DER (RFC 8555 section 7.4)."""
    names_extension = x509.SubjectAlternativeName([x509.DNSName(one) for one in names])
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(names_extension, critical=True)
        .sign(key, hashes.SHA256())
    )
    return encode_b64jose(request.public_bytes(serialization.Encoding.DER))


def renewal_identifier(certificate: x509.Certificate) -> str:
    """Return what a CA calls C{certificate} (RFC 9773 section 4.1).

    @raise ValueError: it does not name its issuer's key.
    """
    try:
        authority = certificate.extensions.get_extension_for_class(
            x509.AuthorityKeyIdentifier
        ).value.key_identifier
    except x509.ExtensionNotFound:
        authority = None
    if authority is None:
        raise ValueError("no authority key identifier")
    serial = certificate.serial_number
    # DER of a positive integer: one more byte where the first bit is set.
    octets = serial.to_bytes(serial.bit_length() // 8 + 1)
    return f"{encode_b64jose(authority)}.{encode_b64jose(octets)}"
