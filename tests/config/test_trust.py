from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface.verify import verifyObject

from haloy.config.trust import trusting
from haloy.errors import ConfigError


def _pem() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def test_a_file_of_certificates_makes_a_policy(tmp_path: Path) -> None:
    """Several certificates and text between them are fine."""
    path = tmp_path / "ca.pem"
    path.write_bytes(b"# ours\n" + _pem() + b"# theirs\n" + _pem())
    policy = trusting(str(path))
    assert verifyObject(IPolicyForHTTPS, policy)
    assert policy.creatorForNetloc(b"a.example.com", 443) is not None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no certificate",
        b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n",
    ],
)
def test_a_file_without_certificates_is_refused(tmp_path: Path, content: bytes) -> None:
    """The error names the file."""
    path = tmp_path / "ca.pem"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        trusting(str(path))
    assert caught.value.path == str(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """Nothing is trusted by mistake."""
    with pytest.raises(ConfigError, match="cannot be used"):
        trusting(str(tmp_path / "nope.pem"))
