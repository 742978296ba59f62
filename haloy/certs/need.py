"""What to obtain, and when: a pure function of wanted, held, failures and now.

Renewal when less than a third of the lifetime or 30 days is left, whichever is
shorter. After a failure the ladder 1 min, 10 min, 1 h, 6 h, 24 h; what the CA asks
by C{Retry-After} counts when it is longer. A rate limit pauses the whole account.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import frozen

from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

LADDER = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
EARLIEST = timedelta(days=30)


@frozen
class Failures:
    """What went wrong in a row for one name, the last reason, and what was wanted.

    A change of C{names} (an edited configuration) starts the ladder anew.
    """

    count: int
    last: datetime
    reason: str
    names: tuple[DomainName, ...]
    not_before: datetime


@frozen
class Need:
    """One certificate to order now."""

    names: tuple[DomainName, ...]

    @property
    def name(self) -> DomainName:
        """The canonical name."""
        return self.names[0]


def wanted_names(domain: Domain) -> tuple[DomainName, ...]:
    """Return the names of the certificate for C{domain}: canonical first."""
    return (domain.canonical, *domain.aliases)


def covers(certificate: Certificate, names: tuple[DomainName, ...]) -> bool:
    """Return whether C{certificate} is valid for all C{names}, wildcards included."""
    return all(
        name in certificate.names or f"*.{name.partition('.')[2]}" in certificate.names
        for name in names
    )


def renew_at(certificate: Certificate) -> datetime:
    """Return from when on a certificate is renewed."""
    lifetime = certificate.not_after - certificate.not_before
    return certificate.not_after - min(EARLIEST, lifetime / 3)


def after_failure(
    before: Failures | None,
    names: tuple[DomainName, ...],
    reason: str,
    retry_after_s: float | None,
    jitter: float,
    now: datetime,
) -> Failures:
    """Return the failures with one more.

    @param jitter: -1 to 1; spreads the next try by a tenth.
    """
    count = 1 if before is None or before.names != names else before.count + 1
    pause = LADDER[min(count, len(LADDER)) - 1] * (1 + 0.1 * jitter)
    if retry_after_s is not None:
        pause = max(pause, timedelta(seconds=retry_after_s))
    return Failures(count, now, reason, names, now + pause)


def needs(
    wanted: tuple[Domain, ...],
    held: dict[DomainName, Certificate],
    failures: dict[DomainName, Failures],
    paused_until: datetime | None,
    now: datetime,
) -> tuple[Need, ...]:
    """Return what to order now, in the order of C{wanted}.

    C{localhost} and wildcards (which need DNS-01) are never ordered here. A
    certificate put there by hand counts like any other: none is ordered while one
    that covers the names is valid.
    """
    if paused_until is not None and now < paused_until:
        return ()
    found = []
    for domain in wanted:
        names = wanted_names(domain)
        if not orderable(names):
            continue
        certificate = serving(names, held, now)
        if certificate is not None and now < due_at(certificate, names):
            continue
        failed = failures.get(domain.canonical)
        if failed is not None and failed.names == names and now < failed.not_before:
            continue
        found.append(Need(names))
    return tuple(found)


def orderable(names: tuple[DomainName, ...]) -> bool:
    """Return whether HTTP-01 can prove all C{names}."""
    return all(name != "localhost" and not name.startswith("*.") for name in names)


def serving(
    names: tuple[DomainName, ...], held: dict[DomainName, Certificate], now: datetime
) -> Certificate | None:
    """Return the certificate for C{names}: by its name, else one that covers."""
    own = held.get(names[0])
    if own is not None and covers(own, names) and now < own.not_after:
        return own
    others = [
        one for one in held.values() if covers(one, names) and now < one.not_after
    ]
    return max(others, key=lambda one: one.not_after, default=None)


def due_at(certificate: Certificate, names: tuple[DomainName, ...]) -> datetime:
    """Return when C{names} want an order: a foreign certificate only at its end."""
    if certificate.name != names[0]:
        return certificate.not_after
    return renew_at(certificate)
