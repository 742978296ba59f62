"""The certificates at hand: what was read, what is kept for want of better."""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import define, field

from haloy.certs.challenge import self_signed
from haloy.certs.need import covers, wanted_names
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

PLACEHOLDER_LIFE = timedelta(days=7)
PLACEHOLDER_LEFT = timedelta(days=1)


@define(eq=False)
class Shelf:
    """All certificates of this server.

    @ivar held: what is on disk, by name.
    @ivar served: what the proxy was given last, C{None}: nothing yet.
    @ivar unsaved: what the disk has not taken yet; held all the same.
    """

    held: dict[DomainName, Certificate] = field(factory=dict)
    served: tuple[Certificate, ...] | None = None
    unsaved: dict[DomainName, Certificate] = field(factory=dict, init=False)
    _kept: dict[DomainName, Certificate] = field(factory=dict, init=False)
    _placeholders: dict[tuple[DomainName, ...], Certificate] = field(
        factory=dict, init=False
    )

    def replace(self, held: dict[DomainName, Certificate]) -> None:
        """Hold these from now on.

        One that is gone from the disk (moved aside as damaged, or deleted) is
        served until there is another one: nobody is locked out by a bad file.
        """
        held = held | self.unsaved
        self._kept = {
            name: certificate
            for name, certificate in {**self._kept, **self.held}.items()
            if name not in held
        }
        self.held = held

    def all(self) -> dict[DomainName, Certificate]:
        """Return all that may be served, by name."""
        return {**self._kept, **self.held}

    def to_serve(
        self, wanted: tuple[Domain, ...], now: datetime
    ) -> tuple[Certificate, ...] | None:
        """Return what to serve, the longest-lived last; C{None}: as before.

        Wanted names that no valid certificate covers get one that has ended (the
        clock may be wrong), or else a self-signed one.
        """
        self._kept = {
            name: one for name, one in self._kept.items() if name not in self.held
        }
        everything = sorted(self.all().values(), key=lambda one: one.not_after)
        valid = [one for one in everything if one.not_after > now]
        ended: list[Certificate] = []
        placeholders: dict[tuple[DomainName, ...], Certificate] = {}
        for domain in wanted:
            bare = _uncovered(wanted_names(domain), valid)
            old = [one for one in everything if bare and covers(one, bare[:1])]
            ended += [one for one in old[-1:] if one not in ended]
            left = _uncovered(bare, ended)
            if left:
                placeholders[left] = self._placeholder(left, now)
        self._placeholders = placeholders
        served = (*placeholders.values(), *ended, *valid)
        return None if served == self.served else served

    def _placeholder(self, names: tuple[DomainName, ...], now: datetime) -> Certificate:
        found = self._placeholders.get(names)
        if found is not None and found.not_after - now > PLACEHOLDER_LEFT:
            return found
        return self_signed(names[0], names, now, PLACEHOLDER_LIFE)


def _uncovered(
    names: tuple[DomainName, ...], certificates: list[Certificate]
) -> tuple[DomainName, ...]:
    return tuple(
        name for name in names if not any(covers(one, (name,)) for one in certificates)
    )
