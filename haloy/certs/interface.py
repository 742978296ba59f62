"""What certificates need of others, and what others may ask of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from attrs import frozen

from haloy.model.app import Domain
from haloy.model.certificate import Certificate, Challenge
from haloy.model.names import DomainName


class Presenter(Protocol):
    """Who shows challenges to the CA and serves certificates: the proxy."""

    async def present(self, challenge: Challenge) -> None:
        """Answer C{challenge} from now on."""

    async def withdraw(self, challenge: Challenge) -> None:
        """Stop answering C{challenge}."""

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        """Serve with exactly these."""


@frozen
class CertificateStatus:
    """How it stands with one name.

    C{state} is C{valid}, C{pending}, C{failed} or C{manual}; C{reason} and
    C{next_try} say what goes on, C{ordering} that it is being ordered or is next.
    C{problem} is the type of the CA's last problem document and C{document} all of it
    (JSON), C{failures} how often it has failed in a row, C{directory} the CA that
    issued what is served. C{names}, C{not_before} and C{fingerprint} (SHA-256,
    hexadecimal) are those of what is served.
    """

    name: DomainName
    aliases: tuple[DomainName, ...]
    state: str
    not_after: datetime | None
    issuer: str
    reason: str
    next_try: datetime | None
    problem: str = ""
    failures: int = 0
    directory: str = ""
    document: str = ""
    ordering: bool = False
    names: tuple[DomainName, ...] = ()
    not_before: datetime | None = None
    fingerprint: str = ""


class Certificates(Protocol):
    """The service. Implemented by C{certs.renewal}."""

    def want(self, domains: tuple[Domain, ...]) -> None:
        """Want these and no others from now on; look at once."""

    def status(self) -> tuple[CertificateStatus, ...]:
        """Return how it stands with every wanted name."""

    def reload(self) -> None:
        """Read the files again (certificates put there by hand)."""

    def renew(self, name: DomainName) -> None:
        """Order for C{name} now, whatever is held; the ladder starts anew.

        @raise NotFound: it is not wanted.
        @raise CertificateError: nobody would issue it; the reason says why.
        """

    async def put(self, name: DomainName, pem: bytes) -> CertificateStatus | None:
        """Serve C{name} with key and chain in C{pem} from now on, as if by hand.

        @raise CertificateError: they are not for C{name}, have ended, or cannot be
            kept.
        """

    def on_change(self, notify: Callable[[CertificateStatus], None]) -> None:
        """Call C{notify} whenever a status changes."""
