"""What to obtain, and when: a pure function of wanted, held, remembered and now.

Renewal when less than a third of the lifetime or 30 days is left, whichever is
shorter, or in the window that the CA suggests. After a failure the ladder 1 min,
10 min, 1 h, 6 h, 24 h; what the CA asks by C{Retry-After} counts when it is longer.
A rate limit pauses the whole account.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import evolve, frozen

from haloy.certs.budget import Limits, free_at, limits_of
from haloy.certs.memory import Failures, Memory
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

LADDER: Final = (
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
EARLIEST: Final = timedelta(days=30)
#: A pause that is longer is none: the clock has gone back since.
LONGEST: Final = timedelta(days=14)
#: How far the clock of who has signed a certificate may be ahead of ours.
SKEW: Final = timedelta(hours=1)
#: Kinds of failure that another CA would not repeat.
ELSEWHERE: Final = frozenset({"transport", "rate", "timeout", "rejected"})
#: Nothing can be asked of anybody before this.
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)


def identifier(certificate: Certificate) -> str:
    """Return what tells C{certificate} from the one before it."""
    return hashlib.sha256(certificate.chain).hexdigest()[:32]


@frozen
class Policy:
    """What is fixed while the daemon runs.

    @ivar authorities: directories, the preferred one first.
    @ivar wildcards: whether DNS-01 is there to prove them.
    @ivar limits: of every authority; C{None}: what is known of each.
    """

    authorities: tuple[str, ...]
    wildcards: bool = False
    limits: Limits | None = None


@frozen
class Decision:
    """How it stands with one wanted certificate.

    C{certificate} serves now; C{due} is when to order at C{directory}, C{None}:
    never; C{waits_for} is what an order waits for beyond the need: C{""} nothing,
    C{"failure"}, C{"pause"} or C{"limit"}.
    """

    names: tuple[DomainName, ...]
    certificate: Certificate | None
    due: datetime | None
    directory: str = ""
    waits_for: str = ""
    renewal: bool = False

    @property
    def name(self) -> DomainName:
        """The canonical name."""
        return self.names[0]


def wanted_names(domain: Domain) -> tuple[DomainName, ...]:
    """Return the names of the certificate for C{domain}: canonical first, no twice."""
    return tuple(dict.fromkeys((domain.canonical, *domain.aliases)))


def covers(certificate: Certificate, names: Iterable[DomainName]) -> bool:
    """Return whether C{certificate} is valid for all C{names}, wildcards included."""
    return all(
        name in certificate.names or wildcard_of(name) in certificate.names
        for name in names
    )


def unfit_for(name: DomainName, certificate: Certificate, now: datetime) -> str:
    """Return why C{certificate} cannot serve C{name} now, C{""}: it can."""
    if not covers(certificate, (name,)):
        return f"is not for {name}"
    if certificate.not_after <= now:
        return "has ended"
    if certificate.not_before > now + SKEW:
        return f"is not valid before {certificate.not_before:%Y-%m-%d %H:%M} UTC"
    return ""


def wildcard_of(name: DomainName) -> DomainName:
    """Return the wildcard that covers C{name}: it stands for one label."""
    return DomainName(f"*.{name.partition('.')[2]}")


def renew_at(certificate: Certificate) -> datetime:
    """Return from when on a certificate is renewed.

    Spread by up to a tenth of what is left then, by the certificate's own bytes:
    many made in one hour are not renewed in one hour, and a restart moves nothing.
    """
    left = min(EARLIEST, (certificate.not_after - certificate.not_before) / 3)
    digest = hashlib.sha256(certificate.chain).digest()
    spread = int.from_bytes(digest[:4]) / 0xFFFFFFFF
    return certificate.not_after - left + 0.1 * spread * left


def orderable(names: Iterable[DomainName], policy: Policy) -> bool:
    """Return whether we can prove all C{names} to a CA."""
    return all(
        name != "localhost" and (policy.wildcards or not name.startswith("*."))
        for name in names
    )


def serving(
    names: tuple[DomainName, ...],
    held: Mapping[DomainName, Certificate],
    now: datetime,
) -> Certificate | None:
    """Return the certificate for C{names}: by its name, else one that covers.

    One that covers the canonical name only is better than none.
    """
    own = held.get(names[0])
    if own is not None and (now >= own.not_after or not covers(own, names[:1])):
        own = None
    if own is not None and covers(own, names):
        return own
    valid = [one for one in held.values() if now < one.not_after]
    for wanted in (names, names[:1]):
        found = [one for one in valid if covers(one, wanted)]
        if found:
            return own if own in found else max(found, key=lambda one: one.not_after)
    return None


def decide(
    domain: Domain,
    held: Mapping[DomainName, Certificate],
    memory: Memory,
    policy: Policy,
    now: datetime,
    forced: Iterable[DomainName] = (),
) -> Decision:
    """Return how it stands with C{domain}.

    A certificate that covers the names and was put there by hand, or belongs to
    another name, is served until it ends; none is ordered before that. For aliases
    that one put there by hand leaves out, one of their own is wanted.

    @param forced: what somebody wants renewed whatever is held; pauses and limits
        of the CA hold all the same.
    """
    names = wanted_names(domain)
    certificate = serving(names, held, now)
    if certificate is not None and certificate.manual:
        left_out = tuple(one for one in names if not covers(certificate, (one,)))
        if left_out:
            rest = Domain(left_out[0], left_out[1:])
            return decide(rest, held, memory, policy, now, forced)
    if not orderable(names, policy):
        return Decision(names, certificate, None)
    renewal = certificate is not None and certificate.names == set(names)
    needed = _needed_at(names, certificate, memory, policy)
    if needed > now and names[0] not in forced:
        return Decision(names, certificate, needed, renewal=renewal)
    failures = memory.failures.get(names[0])
    if failures is not None and (failures.names != names or failures.last > now):
        failures = None  # of another configuration, or before the clock went back
    paused = {
        one: until for one, until in memory.paused.items() if until - now < LONGEST
    }
    directory = choose(policy.authorities, failures, paused, now)
    limits = policy.limits or limits_of(directory)
    if certificate is not None and now >= _half_time(certificate):
        limits = evolve(limits, same_names_week=0)  # short-lived, not a loop
    waits = {
        "limit": free_at(
            memory.attempts, names, directory, limits, now, renewal=renewal
        ),
        "pause": paused.get(directory, now),
        "failure": now if failures is None else failures.not_before,
    }
    longest = max(waits, key=lambda key: waits[key])
    if waits[longest] <= now:
        return Decision(names, certificate, now, directory, renewal=renewal)
    return Decision(names, certificate, waits[longest], directory, longest, renewal)


def choose(
    authorities: Sequence[str],
    failures: Failures | None,
    paused: Mapping[str, datetime],
    now: datetime,
) -> str:
    """Return the directory to order at.

    The preferred one, unless it is paused or has just failed in a way that says
    nothing about the names; of all paused ones the first that is free again.
    """
    ring = list(authorities)
    if failures is not None and failures.kind in ELSEWHERE:
        ring.sort(key=lambda one: one == failures.directory)
    return min(ring, key=lambda one: max(paused.get(one, _EVER), now))


def after_failure(
    before: Failures | None,
    failed: Failures,
    retry_after_s: float | None,
    jitter: float,
) -> Failures:
    """Return C{failed} with its count and next try, being one more after C{before}.

    @param failed: C{count} and C{not_before} are not read.
    @param jitter: -1 to 1; spreads the next try by a tenth.
    """
    same = before is not None and before.names == failed.names
    count = before.count + 1 if before is not None and same else 1
    pause = LADDER[min(count, len(LADDER)) - 1] * (1 + 0.1 * jitter)
    if retry_after_s is not None:
        pause = max(pause, timedelta(seconds=retry_after_s))
    return evolve(failed, count=count, not_before=failed.last + pause)


def _needed_at(
    names: tuple[DomainName, ...],
    certificate: Certificate | None,
    memory: Memory,
    policy: Policy,
) -> datetime:
    """Return from when on a new certificate is wanted."""
    if certificate is None or not covers(certificate, names):
        return _EVER
    if certificate.manual or certificate.name != names[0]:
        return certificate.not_after
    if not certificate.directory:
        # Taken over from the Go daemon, which knew one CA and its test form.
        return _EVER if "(STAGING)" in certificate.issuer else renew_at(certificate)
    if certificate.directory not in policy.authorities:
        return _EVER  # another CA is configured now; it may be one nobody trusts
    window = memory.windows.get(certificate.name)
    if window is None or window.identifier != identifier(certificate):
        return renew_at(certificate)
    lifetime = certificate.not_after - certificate.not_before
    return min(window.chosen, certificate.not_after - lifetime / 10)


def _half_time(certificate: Certificate) -> datetime:
    return certificate.not_before + (certificate.not_after - certificate.not_before) / 2
