"""The certificates at hand: what was read, what is kept for want of better."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from attrs import define, field

from haloy.certs.challenge import self_signed
from haloy.certs.need import covers, wanted_names, wildcard_of
from haloy.model.app import Domain
from haloy.model.certificate import Certificate
from haloy.model.names import DomainName

PLACEHOLDER_LIFE = timedelta(days=7)
PLACEHOLDER_LEFT = timedelta(days=1)


@define(eq=False)
class Shelf:
    """All certificates of this server.

    They may be hundreds, and each of as many names is asked for again and again: what
    is for a name is looked up, never searched.

    @ivar held: what is on disk, by name; changed by L{put} and L{replace} only.
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
    _for_name: dict[DomainName, list[Certificate]] | None = field(
        default=None, init=False, repr=False
    )

    def put(self, certificate: Certificate) -> None:
        """Hold it in the place of the one of its name."""
        self.held[certificate.name] = certificate
        self._for_name = None

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
        self._for_name = None

    def overtaken(self, name: DomainName, before: Certificate | None) -> bool:
        """Return whether somebody has put one for C{name} there since C{before}."""
        now = self.held.get(name)
        return now is not None and now.manual and now != before

    def all(self) -> dict[DomainName, Certificate]:
        """Return all that may be served, by name."""
        return {**self._kept, **self.held}

    def about(
        self, names: Iterable[DomainName], *, kept: bool = False
    ) -> dict[DomainName, Certificate]:
        """Return those held that are called by or for one of C{names}, by name.

        @param kept: those that are gone from the disk as well.
        """
        if self._for_name is None:
            self._for_name = _by_name(self.all().values())
        near = {
            one.name: one
            for name in names
            for called in (name, wildcard_of(name))
            for one in self._for_name.get(called, ())
        }
        return near if kept else {n: one for n, one in near.items() if n in self.held}

    def to_serve(
        self, wanted: tuple[Domain, ...], now: datetime
    ) -> tuple[Certificate, ...] | None:
        """Return what to serve, the longest-lived last; C{None}: as before.

        Wanted names that no valid certificate covers get one that has ended (the
        clock may be wrong), or else a self-signed one.
        """
        if self._kept.keys() & self.held.keys():
            self._kept = {
                name: one for name, one in self._kept.items() if name not in self.held
            }
            self._for_name = None
        everything = sorted(self.all().values(), key=lambda one: one.not_after)
        valid = [one for one in everything if one.not_after > now]
        covered = {name for one in valid for name in one.names}
        kept = set(covered)
        ended: list[Certificate] = []
        placeholders: dict[tuple[DomainName, ...], Certificate] = {}
        for domain in wanted:
            bare = _uncovered(wanted_names(domain), covered)
            old = [one for one in everything if bare and covers(one, bare[:1])]
            ended += [one for one in old[-1:] if one not in ended]
            kept.update(name for one in old[-1:] for name in one.names)
            left = _uncovered(bare, kept)
            if left:
                placeholders[left] = self._placeholder(left, now)
        self._placeholders = placeholders
        served = (*placeholders.values(), *ended, *valid)
        return None if served == self.served else served

    def _placeholder(self, names: tuple[DomainName, ...], now: datetime) -> Certificate:
        found = self._placeholders.get(names)
        if found is not None and found.not_after - now > PLACEHOLDER_LEFT:
            return found
        # Not called by the name: a file may be, that is for other names.
        called = DomainName(f"self-signed.{names[0].removeprefix('*.')}")
        return self_signed(called, names, now, PLACEHOLDER_LIFE)


def _uncovered(
    names: tuple[DomainName, ...], covered: Iterable[DomainName]
) -> tuple[DomainName, ...]:
    return tuple(
        name
        for name in names
        if name not in covered and wildcard_of(name) not in covered
    )


def _by_name(
    certificates: Iterable[Certificate],
) -> dict[DomainName, list[Certificate]]:
    found: dict[DomainName, list[Certificate]] = {}
    for one in certificates:
        for name in {one.name, *one.names}:
            found.setdefault(name, []).append(one)
    return found
