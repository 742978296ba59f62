"""What C{certs.jose} signs."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from haloy.certs.jose import (
    AccountKey,
    external_binding,
    key_pem,
    new_certificate_key,
    signing_request,
)


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


def test_signature_is_one_that_others_can_check() -> None:
    """RFC 7515 with ES256 (RFC 7518 section 3.4): r and s of 32 bytes."""
    key = AccountKey.generate()
    signed = key.sign({"nonce": "n", "url": "https://a"}, {"b": 1})
    head = json.loads(decoded(signed["protected"]))
    assert head == {"alg": "ES256", "nonce": "n", "url": "https://a"}
    assert json.loads(decoded(signed["payload"])) == {"b": 1}
    raw = decoded(signed["signature"])
    assert len(raw) == 64
    public = serialization.load_pem_private_key(key.to_pem(), None).public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    public.verify(
        encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])),
        f"{signed['protected']}.{signed['payload']}".encode(),
        ec.ECDSA(hashes.SHA256()),
    )


def test_request_without_payload_is_post_as_get() -> None:
    """RFC 8555 section 6.3: an empty text, not an empty object."""
    assert AccountKey.generate().sign({}, None)["payload"] == ""


def test_thumbprint_is_that_of_the_public_key() -> None:
    """RFC 7638: the required members, sorted, no spaces."""
    key = AccountKey.generate()
    public = key.public()
    assert set(public) == {"crv", "kty", "x", "y"}
    text = json.dumps(dict(public), sort_keys=True, separators=(",", ":"))
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest())
    assert key.thumbprint() == digest.rstrip(b"=").decode()


def test_key_is_read_as_it_was_written() -> None:
    """P-256 only."""
    key = AccountKey.generate()
    assert AccountKey.from_pem(key.to_pem()).thumbprint() == key.thumbprint()
    for other in (
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ):
        pem = other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        with pytest.raises(ValueError, match="P-256"):
            AccountKey.from_pem(pem)


def test_binding_is_signed_with_the_key_outside() -> None:
    """RFC 8555 section 7.3.4: HS256 over the account's public key."""
    account = AccountKey.generate().public()
    found = external_binding("kid-1", b"secret", "https://a/new", account)
    head = json.loads(decoded(found["protected"]))
    assert head == {"alg": "HS256", "kid": "kid-1", "url": "https://a/new"}
    assert json.loads(decoded(found["payload"])) == account
    signed = f"{found['protected']}.{found['payload']}".encode()
    expected = hmac.digest(b"secret", signed, "sha256")
    assert decoded(found["signature"]) == expected


def test_request_names_every_name_and_nothing_else() -> None:
    """No subject: the names are in the extension, which is then critical."""
    key = new_certificate_key()
    der = decoded(signing_request(key, ("a.example.com", "*.example.com")))
    request = x509.load_der_x509_csr(der)
    extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert extension.critical
    assert extension.value.get_values_for_type(x509.DNSName) == [
        "a.example.com",
        "*.example.com",
    ]
    assert len(list(request.subject)) == 0
    assert request.is_signature_valid
    assert b"PRIVATE KEY" in key_pem(key)
