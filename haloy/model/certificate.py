"""Certificates and challenges as values; the private key is a secret type."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from attrs import field, frozen

from haloy.model.names import DomainName


@frozen
class Secret:
    """Bytes that never show up in a log, a repr or an error."""

    value: bytes = field(repr=lambda _: "***")


@frozen
class Certificate:
    """A certificate ready to be served.

    C{name} is the file name without C{.pem}: the canonical domain in lower case,
    C{*.example.com} for a wildcard. C{names} are the DNS names it is valid for.
    C{chain} is PEM, leaf first; C{key} is PEM. C{manual} says that a person put it
    there, so that it is never replaced while it is valid; C{directory} is the ACME
    directory that it was obtained from, C{""} when that is not known.
    """

    name: DomainName
    names: frozenset[DomainName]
    chain: bytes
    key: Secret
    not_before: datetime
    not_after: datetime
    issuer: str = ""
    manual: bool = False
    directory: str = ""


class ChallengeKind(Enum):
    """RFC 8555 section 8.3 and 8.4, RFC 8737."""

    HTTP_01 = "http-01"
    TLS_ALPN_01 = "tls-alpn-01"
    DNS_01 = "dns-01"


@frozen
class Challenge:
    """What the proxy must show to the CA while an order is open.

    HTTP-01: answer C{key_authorization} under C{token}. TLS-ALPN-01: present
    C{certificate} for C{name} to clients that offer C{acme-tls/1} only.
    """

    kind: ChallengeKind
    name: DomainName
    token: str
    key_authorization: str
    certificate: Certificate | None = None
