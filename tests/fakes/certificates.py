"""Certificates as the API sees them, in memory."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from attrs import define, field

from haloy.certs.interface import CertificateStatus
from haloy.errors import NotFound
from haloy.model.app import Domain
from haloy.model.names import DomainName

ENDS = datetime(2027, 2, 22, 12, tzinfo=UTC)


def status(
    name: str, state: str = "valid", not_after: datetime | None = ENDS, **more: object
) -> CertificateStatus:
    """Return a status of one name."""
    found: dict[str, object] = {
        "aliases": (),
        "issuer": "CN=test CA",
        "reason": "",
        "next_try": None,
        **more,
    }
    return CertificateStatus(
        name=DomainName(name),
        state=state,
        not_after=not_after,
        **found,  # type: ignore[arg-type]  # a test says which
    )


@define(eq=False)
class FakeCertificates:
    """Says what the test has put in, and notes what it is asked for."""

    known: list[CertificateStatus] = field(factory=list)
    renewed: list[str] = field(factory=list)
    taken: list[tuple[str, bytes]] = field(factory=list)
    refuse: Exception | None = None
    after_renewal: list[CertificateStatus] = field(factory=list)

    def want(self, domains: tuple[Domain, ...]) -> None:
        raise AssertionError("the API wants none")

    def status(self) -> tuple[CertificateStatus, ...]:
        return tuple(self.known)

    def reload(self) -> None:
        raise AssertionError("the API reloads nothing")

    def renew(self, name: DomainName) -> None:
        if self.refuse is not None:
            raise self.refuse
        if name not in {one.name for one in self.known}:
            raise NotFound(f"no app has the domain {name}")
        self.renewed.append(name)
        if self.after_renewal:
            self.known = list(self.after_renewal)

    async def put(self, name: DomainName, pem: bytes) -> CertificateStatus | None:
        if self.refuse is not None:
            raise self.refuse
        self.taken.append((name, pem))
        return next((one for one in self.known if one.name == name), None)

    def on_change(self, notify: Callable[[CertificateStatus], None]) -> None:
        raise AssertionError("the API is told by nobody")
