"""TLS contexts by server name, swapped whole.

One base context is what accepted sockets are wrapped with; its SNI callback hands
the handshake to the context of the name: exact, then one-label wildcard. A name
that nobody has gets the alert C{unrecognized_name} (RFC 6066 section 3) and no
certificate. Tickets belong to the base context, so resumption survives a swap.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from typing import Any, cast

from attrs import define, field
from twisted.logger import Logger

from haloy.errors import CertificateError
from haloy.model.certificate import Certificate, Challenge

#: TLS 1.2 with forward secrecy and AEAD only; TLS 1.3 suites are OpenSSL's (P18).
CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
PROTOCOLS = ["http/1.1"]


def server_context() -> ssl.SSLContext:
    """Return a context with our policy and no certificate yet.

    TLS 1.2 and 1.3, no compression, no renegotiation, tickets on.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(PROTOCOLS)
    return context


def context_of(certificate: Certificate) -> ssl.SSLContext:
    """Return the context that serves C{certificate}.

    @raise CertificateError: key and chain do not load or do not belong together.
    """
    context = server_context()
    # The ssl module loads from files only. Linux keeps this one in memory.
    descriptor = _memory_file(certificate.key.value + b"\n" + certificate.chain)
    try:
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except (ssl.SSLError, OSError) as problem:
        raise CertificateError(
            f"the certificate for {certificate.name} cannot be used: {problem}",
            domain=certificate.name,
        ) from problem
    finally:
        os.close(descriptor)
    return context


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("haloy-certificate", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


@define(eq=False)
class SniContexts:
    """The contexts of all names, and the base context that leads to them."""

    _log: Logger = field(factory=Logger, init=False)
    _base: ssl.SSLContext = field(init=False)
    _by_name: dict[str, ssl.SSLContext] = field(factory=dict, init=False)
    _made: dict[tuple[bytes, bytes], ssl.SSLContext] = field(factory=dict, init=False)
    unknown: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the base context."""
        self.renew()

    @property
    def context(self) -> ssl.SSLContext:
        """What accepted sockets are wrapped with."""
        return self._base

    def renew(self) -> None:
        """Make a new base context, and so new ticket keys; call it once a day."""
        base = server_context()
        base.sni_callback = cast(Any, self._choose)  # a name may be absent
        self._base = base

    def replace(self, certificates: tuple[Certificate, ...]) -> None:
        """Serve with exactly these; a bad one leaves what its names had.

        Handshakes under way end with the context they began with.
        """
        made: dict[tuple[bytes, bytes], ssl.SSLContext] = {}
        by_name: dict[str, ssl.SSLContext] = {}
        for certificate in certificates:
            key = (certificate.chain, certificate.key.value)
            names = certificate.names or {certificate.name}
            try:
                context = self._made.get(key) or context_of(certificate)
            except CertificateError as problem:
                self._log.error("{problem}; the one before stays", problem=str(problem))
                by_name |= self._kept(names)
                continue
            made[key] = context
            by_name |= {name.lower(): context for name in names}
        self._made = made
        self._by_name = by_name

    def has(self, name: str) -> bool:
        """Return whether there is a certificate for C{name}."""
        return self._find(name.lower()) is not None

    def server_name(self, connection: ssl.SSLSocket) -> str | None:
        """Return the name a client asked for, in lower case."""
        name: str | None = getattr(connection, "haloy_server_name", None)
        return name

    def present_alpn(self, challenge: Challenge) -> None:
        """Refuse: this form answers HTTP-01 only."""
        raise CertificateError(
            "TLS-ALPN-01 challenges are not answered here", domain=challenge.name
        )

    def withdraw_alpn(self, challenge: Challenge) -> None:
        """Do nothing: none is ever presented."""

    def _kept(self, names: Iterable[str]) -> dict[str, ssl.SSLContext]:
        lower = [name.lower() for name in names]
        return {name: self._by_name[name] for name in lower if name in self._by_name}

    def _find(self, name: str) -> ssl.SSLContext | None:
        context = self._by_name.get(name)
        if context is None:
            _, dot, rest = name.partition(".")
            context = self._by_name.get(f"*.{rest}") if dot else None
        return context

    def _choose(
        self, connection: ssl.SSLSocket, name: str | None, _: ssl.SSLContext
    ) -> int | None:
        """Switch to the context of C{name}; never raise, which would flood the log."""
        context = self._find(name.lower()) if name else None
        if context is None:
            self.unknown += 1
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        connection.context = context
        connection.haloy_server_name = (name or "").lower()  # type: ignore[attr-defined]  # kept with its connection
        return None
