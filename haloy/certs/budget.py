"""How many orders a CA takes: ours stay below its published limits.

A pure function of the orders sent.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from attrs import frozen

from haloy.certs.memory import Attempt
from haloy.model.names import DomainName

_HOUR = timedelta(hours=1)
_WEEK = timedelta(days=7)


@frozen
class Limits:
    """Orders in a span of time, at one CA.

    New certificates of a registered domain in a week (renewals do not count), of
    exactly the same names in a week, of the account in three hours, and failed
    ones that have a name in an hour. 0 is no limit. The defaults are below those
    that Let's Encrypt publishes.
    """

    per_domain_week: int = 40
    same_names_week: int = 4
    per_account_3h: int = 200
    failed_per_name_hour: int = 4


#: Of a CA that we know nothing of; failures are counted everywhere.
UNKNOWN = Limits(per_domain_week=0, same_names_week=0, per_account_3h=0)
LETS_ENCRYPT = "letsencrypt.org"


def limits_of(directory: str) -> Limits:
    """Return the limits at the CA with this directory."""
    host = urlsplit(directory).hostname or ""
    ours = host == LETS_ENCRYPT or host.endswith(f".{LETS_ENCRYPT}")
    return Limits() if ours else UNKNOWN


@functools.lru_cache(maxsize=2048)
def registered(name: DomainName) -> str:
    """Return the part of C{name} that is taken to be registered: two labels.

    Under suffixes such as C{co.uk} this counts strangers together: stricter than
    the CA, never laxer.
    """
    return ".".join(name.split(".")[-2:])


def free_at(
    attempts: Sequence[Attempt],
    names: tuple[DomainName, ...],
    directory: str,
    limits: Limits,
    now: datetime,
    *,
    renewal: bool,
) -> datetime:
    """Return from when on an order for C{names} is within C{limits}; C{now}: it is."""
    here = [one for one in attempts if one.directory == directory]
    same = [one.at for one in here if one.issued and set(one.names) == set(names)]
    failed = [one for one in here if not one.issued]
    free = [
        _free(same, limits.same_names_week, _WEEK, now),
        _free([one.at for one in here], limits.per_account_3h, 3 * _HOUR, now),
    ]
    for name in names:
        of_name = [one.at for one in failed if name in one.names]
        free.append(_free(of_name, limits.failed_per_name_hour, _HOUR, now))
    if not renewal and limits.per_domain_week:
        fresh = [one for one in here if one.issued and not one.renewal]
        for domain in {registered(name) for name in names}:
            times = [
                one.at for one in fresh if domain in {registered(n) for n in one.names}
            ]
            free.append(_free(times, limits.per_domain_week, _WEEK, now))
    return max(free)


def _free(
    times: Sequence[datetime], limit: int, span: timedelta, now: datetime
) -> datetime:
    """Return when fewer than C{limit} of C{times} lie in the C{span} before."""
    # One in the future is from before the clock went back.
    recent = sorted(at for at in times if now - span < at <= now)
    if not limit or len(recent) < limit:
        return now
    return recent[-limit] + span
