"""Certificates on disk: C{NAME.pem} (key, leaf, chain), accounts, failures.

The folder is 0700, files 0600, written atomically. C{cert-storage/} of a Go daemon
is read too. What cannot be read is moved aside and told, never deleted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from twisted.logger import Logger

from haloy.certs.jose import AccountKey
from haloy.certs.need import Failures
from haloy.config.private import make_directory, write_private
from haloy.errors import CertificateError
from haloy.model.certificate import Certificate, Secret
from haloy.model.names import DomainName

_PUBLIC_FORMAT = (
    serialization.Encoding.DER,
    serialization.PublicFormat.SubjectPublicKeyInfo,
)


def parse_pem(name: str, content: bytes) -> Certificate:
    """Return the certificate in C{content}: key and chain in any order.

    The leaf is the certificate whose key is there; it comes first in the chain.

    @raise CertificateError: something is missing or does not belong together.
    """
    try:
        chain = x509.load_pem_x509_certificates(content)
        key = serialization.load_pem_private_key(_key_block(content), None)
        public = key.public_key().public_bytes(*_PUBLIC_FORMAT)
    except (ValueError, TypeError) as problem:
        raise CertificateError(f"cannot be read: {problem}", domain=name) from problem
    leaves = [
        one for one in chain if one.public_key().public_bytes(*_PUBLIC_FORMAT) == public
    ]
    if not leaves:
        raise CertificateError("key and certificate do not match", domain=name)
    leaf = leaves[0]
    ordered = [leaf, *(one for one in chain if one != leaf)]
    try:
        names = leaf.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        names = []
    return Certificate(
        name=DomainName(name),
        names=frozenset(DomainName(one.lower()) for one in names),
        chain=b"".join(one.public_bytes(serialization.Encoding.PEM) for one in ordered),
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
    )


def _key_block(content: bytes) -> bytes:
    """Return the private key's block, C{b""} without one."""
    start = content.find(b"-----BEGIN ")
    while start >= 0:
        end = content.find(b"-----END ", start)
        stop = content.find(b"-----", end + 9) + 5
        block = content[start:stop]
        if b"PRIVATE KEY-----" in block.split(b"\n", 1)[0]:
            return block + b"\n"
        start = content.find(b"-----BEGIN ", stop)
    return b""


@define(eq=False)
class CertificateFiles:
    """The folder C{certs/}, and C{cert-storage/} beside it for reading."""

    _folder: Path
    _log: Logger = field(factory=Logger, init=False)

    def load(self, now: datetime) -> dict[DomainName, Certificate]:
        """Return all certificates by name; a damaged file is moved aside.

        A file name in any letter case is found (P17, D17).
        """
        found: dict[DomainName, Certificate] = {}
        for path in self._files():
            name = DomainName(path.stem.lower())
            try:
                certificate = parse_pem(name, path.read_bytes())
            except (CertificateError, OSError) as problem:
                self._set_aside(path, now, problem)
                continue
            before = found.get(name)
            if before is None or before.not_after <= certificate.not_after:
                found[name] = certificate
        return found

    def save(self, certificate: Certificate) -> None:
        """Write a certificate in the place of the one before it."""
        content = certificate.key.value.rstrip() + b"\n" + certificate.chain
        write_private(self._folder / f"{certificate.name}.pem", content)

    def _files(self) -> list[Path]:
        old = self._folder.with_name("cert-storage")
        return [
            *(sorted(old.glob("*.pem")) if old.is_dir() else ()),
            *(sorted(self._folder.glob("*.pem")) if self._folder.is_dir() else ()),
        ]

    def _set_aside(self, path: Path, now: datetime, problem: Exception) -> None:
        aside = path.with_name(f"{path.name}.corrupt-{now:%Y%m%dT%H%M%SZ}")
        try:
            path.rename(aside)
        except OSError:
            aside = path
        self._log.error(
            "certificate {path} is not used: {problem}; kept as {aside}",
            path=str(path),
            problem=str(problem),
            aside=str(aside),
        )

    # --- account -------------------------------------------------------------------

    def account_key(self, directory_url: str) -> AccountKey:
        """Return the account's key at a CA, making one the first time.

        Kept under the directory's URL: another CA never sees this key (D16).
        """
        name = hashlib.sha256(directory_url.encode()).hexdigest()[:16]
        path = self._folder / "accounts" / f"{name}.pem"
        try:
            return AccountKey.from_pem(path.read_bytes())
        except FileNotFoundError:
            pass
        except ValueError as problem:
            self._set_aside(path, datetime.now(UTC), problem)
        key = AccountKey.generate()
        make_directory(self._folder)
        write_private(path, key.to_pem())
        return key

    # --- failures -------------------------------------------------------------------

    def load_failures(self) -> tuple[dict[DomainName, Failures], datetime | None]:
        """Return the failures by name, and until when the account is paused."""
        try:
            found = json.loads((self._folder / "failures.json").read_text())
            failures = {
                DomainName(name): Failures(
                    count=int(one["count"]),
                    last=datetime.fromisoformat(one["last"]),
                    reason=str(one["reason"]),
                    names=tuple(DomainName(each) for each in one["names"]),
                    not_before=datetime.fromisoformat(one["not_before"]),
                )
                for name, one in found["names"].items()
            }
            paused = found.get("paused_until")
            return failures, None if paused is None else datetime.fromisoformat(paused)
        except FileNotFoundError:
            return {}, None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            self._log.warn("failures are forgotten: {problem}", problem=str(problem))
            return {}, None

    def save_failures(
        self, failures: Iterable[tuple[DomainName, Failures]], paused: datetime | None
    ) -> None:
        """Write what must survive a restart, so that a restart orders nothing."""
        content = {
            "names": {
                name: {
                    "count": one.count,
                    "last": one.last.isoformat(),
                    "reason": one.reason,
                    "names": list(one.names),
                    "not_before": one.not_before.isoformat(),
                }
                for name, one in failures
            },
            "paused_until": None if paused is None else paused.isoformat(),
        }
        write_private(
            self._folder / "failures.json", json.dumps(content, indent=1).encode()
        )
