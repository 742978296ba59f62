"""What a person should hear of an app's names while it is being deployed.

Said early, by a look at DNS, and once more at the end; never waited for, and never a
reason for a deployment to fail (D6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import define

from haloy.certs.interface import CertificateStatus
from haloy.certs.lookup import NameLook
from haloy.certs.need import Policy, covers, wanted_names
from haloy.certs.shelf import Shelf
from haloy.certs.status import never
from haloy.model.app import Domain
from haloy.model.names import DomainName

#: How many names are looked at: each may take some seconds where DNS is slow.
LOOKED_AT = 20


@define(eq=False)
class Advice:
    """Implements L{haloy.deploy.interface.Names}.

    @ivar _status: how it stands with every wanted name.
    """

    _shelf: Shelf
    _names: NameLook
    _policy: Policy
    _now: Callable[[], datetime]
    _status: Callable[[], tuple[CertificateStatus, ...]]

    async def look_ahead(self, domains: tuple[Domain, ...]) -> tuple[str, ...]:
        """Return why certificates for C{domains} may not come.

        Names that have one are left alone: what DNS says of them is no news.
        """
        bare: dict[DomainName, None] = {}
        found = []
        for domain in domains:
            names = wanted_names(domain)
            left = [name for name in names if not self._served(name)]
            bare |= dict.fromkeys(left)
            reason = never(names, self._policy)
            if left and reason:
                found.append(f"{domain.canonical} gets no certificate: {reason}")
        for name in list(bare)[:LOOKED_AT]:
            view = await self._names.look(name)
            found += [text for text in (view.problem, view.warning) if text]
        return tuple(dict.fromkeys(found))

    def missing(self, domains: tuple[Domain, ...]) -> tuple[tuple[str, str], ...]:
        """Return level and text for each of C{domains} without a certificate."""
        known = {one.name: one for one in self._status()}
        found = []
        for domain in domains:
            names = wanted_names(domain)
            if not all(self._served(name) for name in names):
                found.append(_missing(domain.canonical, known))
        return tuple(found)

    def _served(self, name: DomainName) -> bool:
        now = self._now()
        return any(
            now < one.not_after and covers(one, (name,))
            for one in self._shelf.all().values()
        )


def _missing(
    name: DomainName, known: Mapping[DomainName, CertificateStatus]
) -> tuple[str, str]:
    one = known.get(name)
    hint = f"browsers warn until then; see `haloy certs show {name}`"
    if one is None or not one.failures:
        return "INFO", f"the certificate for {name} is not there yet; {hint}"
    return "WARN", f"the certificate for {name} is not there: {one.reason}; {hint}"
