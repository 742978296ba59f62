"""Tables and certificates as differences, and counts of several workers as one.

What is sent is small where little has changed, and comes in parts of a bounded size:
a worker answers requests between two of them. Routes are read by who goes by them, the
workers: a supervisor passes on and keeps what it need not understand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

from attrs import evolve, field, frozen

from haloy.model.certificate import Certificate
from haloy.model.names import DomainName
from haloy.proxy.control.protocol import CertificatesPart, TablePart
from haloy.proxy.control.route_text import read_routes, route_text
from haloy.proxy.interface import Leftover, ProxyStats
from haloy.proxy.routes import Route, RouteTable, changed

#: Some 0.2 ms to read, in which a worker answers nobody.
ROUTES_IN_PART: Final = 20
CERTIFICATES_IN_PART: Final = 16

_T = TypeVar("_T")

# --- tables --------------------------------------------------------------------------


@frozen
class UnreadTable:
    """A L{RouteTable} whose routes are texts, as L{route_text} makes them."""

    generation: int = 0
    exact: Mapping[str, bytes] = field(factory=dict)
    wildcard: Mapping[str, bytes] = field(factory=dict)


Table = RouteTable | UnreadTable
T = TypeVar("T", RouteTable, UnreadTable)


def read_table(table: UnreadTable) -> RouteTable:
    """Return C{table} with its routes. @raise ValueError: one is none."""
    return RouteTable(
        table.generation, read_routes(table.exact), read_routes(table.wildcard)
    )


def unread_table(table: RouteTable) -> UnreadTable:
    """Return what L{read_table} makes C{table} of."""
    return UnreadTable(
        table.generation,
        {name: route_text(route) for name, route in table.exact.items()},
        {name: route_text(route) for name, route in table.wildcard.items()},
    )


def _leave_unread(texts: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return texts


def _texts(routes: Iterable[tuple[str, Route | bytes]]) -> dict[str, bytes]:
    return {
        name: route if isinstance(route, bytes) else route_text(route)
        for name, route in routes
    }


def table_parts(before: Table | None, after: Table) -> list[TablePart]:
    """Return the way from C{before} (C{None}: from nothing) to C{after}."""
    start = UnreadTable() if before is None else before
    base = -1 if before is None else before.generation
    exact = [(True, *one) for one in changed(start.exact, after.exact)]
    wildcard = [(False, *one) for one in changed(start.wildcard, after.wildcard)]
    parts = [
        TablePart(
            after.generation,
            base,
            exact=_texts((name, route) for is_exact, name, route in some if is_exact),
            wildcard=_texts(
                (name, route) for is_exact, name, route in some if not is_exact
            ),
        )
        for some in _slices([*exact, *wildcard], ROUTES_IN_PART)
    ]
    # What is not a full part goes with the end: one message for a change of one app.
    small = parts and len(parts[-1].exact) + len(parts[-1].wildcard) < ROUTES_IN_PART
    end = parts.pop() if small else TablePart(after.generation, base)
    parts.append(
        evolve(
            end,
            gone_exact=tuple(name for name in start.exact if name not in after.exact),
            gone_wildcard=tuple(
                name for name in start.wildcard if name not in after.wildcard
            ),
            last=True,
        )
    )
    return parts


def _slices(items: Sequence[_T], size: int) -> Iterable[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


class TableReader(Generic[T]):
    """Puts tables together again.

    @ivar table: the newest complete one.
    """

    def __init__(
        self,
        make: Callable[[int, Mapping[str, Any], Mapping[str, Any]], T],
        read: Callable[[Mapping[str, bytes]], Mapping[str, Any]],
    ) -> None:
        """Make tables by C{make} of routes that C{read} makes of the texts."""
        self._make: Callable[[int, Mapping[str, Any], Mapping[str, Any]], T] = make
        self._read = read
        self.table: T = make(-1, {}, {})
        self._next: tuple[int, int] | None = None
        self._underway: list[TablePart] = []  # of the table that comes now
        self._problem = ""  # of a part of the table that comes now
        self._exact: dict[str, Any] = {}
        self._wildcard: dict[str, Any] = {}

    @property
    def brief(self) -> Sequence[TablePart]:
        """What leads another reader to where this one is, within a table as well."""
        return [*table_parts(None, self.table), *self._underway]

    @property
    def within(self) -> bool:
        """Whether a table has begun to come."""
        return bool(self._underway)

    def take(self, part: TablePart) -> T | None:
        """Return the table that C{part} completes.

        @raise ValueError: this part, or one before it, is none of ours, or the parts
            start from another table than ours. What comes is refused up to the last.
        """
        if self._next != (part.base, part.generation):
            self._begin(part)
        self._underway.append(part)
        if part.last:
            self.give_up()
        if not self._problem:
            try:
                self._exact.update(self._read(part.exact))
                self._wildcard.update(self._read(part.wildcard))
            except ValueError as problem:
                self._problem = str(problem)
        if self._problem:
            raise ValueError(self._problem)
        if not part.last:
            return None
        for name in part.gone_exact:
            self._exact.pop(name, None)
        for name in part.gone_wildcard:
            self._wildcard.pop(name, None)
        self.table = self._make(part.generation, self._exact, self._wildcard)
        return self.table

    def give_up(self) -> None:
        """Go on with none of the parts that have come: what comes next is the first."""
        self._next = None
        self._underway = []

    def go_back(self, table: T, former: T) -> None:
        """Have C{former} again instead of C{table}, unless there is a newer one."""
        if self.table is table:
            self.table = former

    def _begin(self, part: TablePart) -> None:
        self._next = (part.base, part.generation)
        self._underway = []
        self._problem = ""
        self._exact, self._wildcard = {}, {}
        if part.base == -1:
            return
        if part.base != self.table.generation:
            self._problem = (
                f"a change of table {part.base}, where table "
                f"{self.table.generation} is served"
            )
        else:
            self._exact = dict(self.table.exact)
            self._wildcard = dict(self.table.wildcard)


def table_reader() -> TableReader[RouteTable]:
    """Return a reader for who goes by the routes."""
    return TableReader(RouteTable, read_routes)


def passing_reader() -> TableReader[UnreadTable]:
    """Return a reader for who passes them on."""
    return TableReader(UnreadTable, _leave_unread)


# --- certificates --------------------------------------------------------------------


def certificate_parts(
    before: tuple[Certificate, ...] | None, after: tuple[Certificate, ...]
) -> list[CertificatesPart]:
    """Return the way from C{before} (C{None}: from nothing) to C{after}."""
    held = {one.name: one for one in before or ()}
    wanted = {one.name: one for one in after}
    whole = before is None or [name for name in held if name in wanted] != [
        name for name in wanted if name in held
    ]
    if whole:
        held = {}
    changed = [one for name, one in wanted.items() if held.get(name) != one]
    parts = [
        CertificatesPart(put=tuple(some))
        for some in _slices(changed, CERTIFICATES_IN_PART)
    ]
    parts.append(
        CertificatesPart(
            gone=tuple(name for name in held if name not in wanted), last=True
        )
    )
    parts[0] = evolve(parts[0], whole=whole)
    return parts


class CertificatesReader:
    """Puts sets of certificates together again.

    @ivar certificates: the newest complete set.
    """

    def __init__(self) -> None:
        self.certificates: tuple[Certificate, ...] = ()
        self._held: dict[DomainName, Certificate] = {}
        self._underway: list[CertificatesPart] = []

    @property
    def brief(self) -> Sequence[CertificatesPart]:
        """What leads another reader to where this one is, within a set as well."""
        return [*certificate_parts(None, self.certificates), *self._underway]

    def take(self, part: CertificatesPart) -> tuple[Certificate, ...] | None:
        """Return the set that C{part} completes."""
        if part.whole:
            self._held, self._underway = {}, []
        for one in part.put:
            self._held[one.name] = one
        for name in part.gone:
            self._held.pop(name, None)
        if not part.last:
            self._underway.append(part)
            return None
        self._underway = []
        self.certificates = tuple(self._held.values())
        return self.certificates


# --- counts --------------------------------------------------------------------------


def together(readings: Sequence[ProxyStats]) -> ProxyStats:
    """Return the reading of several workers as one; the oldest generation counts."""
    draining: dict[str, Leftover] = {}
    for reading in readings:
        for key, left in reading.draining.items():
            draining[key] = added(draining.get(key, Leftover(0, 0)), left)
    return ProxyStats(
        generation=min((one.generation for one in readings), default=0),
        connections=sum(one.connections for one in readings),
        requests_active=sum(one.requests_active for one in readings),
        tunnels_active=sum(one.tunnels_active for one in readings),
        requests_total=sum(one.requests_total for one in readings),
        draining=draining,
        parked=tuple(sorted({app for one in readings for app in one.parked})),
    )


def added(one: Leftover, other: Leftover) -> Leftover:
    """Return the sum."""
    return Leftover(one.requests + other.requests, one.tunnels + other.tunnels)
