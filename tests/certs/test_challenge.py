"""What C{certs.challenge} and C{certs.solving} show to a CA."""

from __future__ import annotations

import hashlib

from cryptography import x509

from haloy.certs.challenge import (
    ACME_IDENTIFIER,
    dns_value,
    make_challenge,
    preferred,
    record_name,
    self_signed,
)
from haloy.model.certificate import ChallengeKind
from haloy.model.names import DomainName
from tests.support.certificates import DAY, NOW

SHOP = DomainName("shop.example.com")
KEY_AUTHORIZATION = "token.print"
DIGEST = hashlib.sha256(KEY_AUTHORIZATION.encode()).digest()


def test_tls_alpn_shows_the_digest_in_a_critical_extension() -> None:
    """RFC 8737 section 3: an OCTET STRING, one name, signed by itself."""
    made = make_challenge(
        ChallengeKind.TLS_ALPN_01, SHOP, "token", KEY_AUTHORIZATION, NOW
    )
    assert made.certificate is not None
    shown = x509.load_pem_x509_certificate(made.certificate.chain)
    extension = shown.extensions.get_extension_for_oid(ACME_IDENTIFIER)
    assert extension.critical
    assert isinstance(extension.value, x509.UnrecognizedExtension)
    assert extension.value.value == b"\x04\x20" + DIGEST
    assert made.certificate.names == {SHOP}
    shown.verify_directly_issued_by(shown)


def test_other_kinds_need_no_certificate() -> None:
    """They are answered elsewhere."""
    for kind in (ChallengeKind.HTTP_01, ChallengeKind.DNS_01):
        assert make_challenge(kind, SHOP, "t", "t.p", NOW).certificate is None


def test_dns_record_is_under_the_name_without_its_star() -> None:
    """RFC 8555 section 8.4: base64url of the digest, no padding."""
    assert record_name(DomainName("*.example.com")) == "_acme-challenge.example.com"
    assert record_name(SHOP) == "_acme-challenge.shop.example.com"
    assert dns_value("token.print") == "geGXac0jpnr_GBoGGXIb8nnygzls1TYLC3imeqgZSLw"
    assert "=" not in dns_value(KEY_AUTHORIZATION)


def test_first_kind_that_is_offered_is_taken() -> None:
    """A CA may offer kinds that nobody has heard of."""
    offered = [{"type": "dns-persist-01"}, {"type": "tls-alpn-01", "token": "t"}, {}]
    both = (ChallengeKind.HTTP_01, ChallengeKind.TLS_ALPN_01)
    assert preferred(offered, both) == (ChallengeKind.TLS_ALPN_01, offered[1])
    assert preferred(offered, (ChallengeKind.DNS_01,)) is None


def test_self_signed_one_is_valid_from_a_little_before() -> None:
    """Clocks differ."""
    made = self_signed(SHOP, (SHOP,), NOW, DAY)
    assert made.not_before < NOW < made.not_after <= NOW + DAY
