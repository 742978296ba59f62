"""Which upstreams the table wants, worked out from what differs.

A table may have a thousand routes, and the next one other upstreams for one of them:
requests wait while it takes its place, so what is as before costs a look, and the rest
is done in steps.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from haloy.model.app import ProxyOptions
from haloy.proxy.routes import (
    API_OWNER,
    ApiRoute,
    AppRoute,
    Route,
    RouteTable,
    Upstream,
)

#: What differs is worked on by so many at a time, some 30 µs, and what does not is
#: looked at by so many.
_STEP: Final = 8
_LOOK: Final = 256

T = TypeVar("T")

Steps = Generator[None, None, T]


def steps_of(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Return C{items}, a step's worth at a time."""
    return (items[start : start + _STEP] for start in range(0, len(items), _STEP))


class Wanted(NamedTuple):
    """An upstream of a route; C{options}: how requests go there."""

    upstream: Upstream
    app: str
    options: ProxyOptions


class Demand:
    """The upstreams of one table after the other."""

    __slots__ = ("_api_options", "_apps", "_keys", "_table")

    def __init__(self, api_options: ProxyOptions) -> None:
        """Begin with the empty table; C{api_options} are those of haloyd's API."""
        self._api_options = api_options
        self._table = RouteTable()
        # In how many places of the table each stands.
        self._keys: dict[str, int] = {}
        self._apps: dict[str, int] = {}

    @property
    def apps(self) -> Collection[str]:
        """Whoever has an upstream in the table."""
        return self._apps.keys()

    def follow(
        self, table: RouteTable
    ) -> Steps[tuple[Sequence[Wanted], Sequence[str]]]:
        """Go on to C{table}, in steps, all of which must be taken.

        Return the upstreams of the routes that are new or otherwise than before, and
        the keys of those that have no place in it.
        """
        before, self._table = self._table, table
        wanted: list[Wanted] = []
        left: list[Wanted] = []
        for old, new in (
            (before.exact, table.exact),
            (before.wildcard, table.wildcard),
        ):
            yield from self._compare(old, new, wanted, left)
            yield from self._missing(old, new, left)
        keys, apps = self._keys, self._apps
        for some in steps_of(wanted):
            for upstream, app, _ in some:
                key = upstream.key
                keys[key] = keys.get(key, 0) + 1
                apps[app] = apps.get(app, 0) + 1
            yield
        gone = []
        for some in steps_of(left):
            for upstream, app, _ in some:
                key = upstream.key
                if _one_less(keys, key):
                    gone.append(key)
                _one_less(apps, app)
            yield
        return wanted, gone

    def _compare(
        self,
        before: Mapping[str, Route],
        after: Mapping[str, Route],
        wanted: list[Wanted],
        left: list[Wanted],
    ) -> Iterator[None]:
        """Find what C{after} has new, or otherwise than C{before}."""
        for some in _looks(after):
            others = [
                (route, former)
                for name, route in some
                if (former := before.get(name)) is not route
            ]
            yield
            for pairs in steps_of(others):
                for route, former in pairs:
                    if former is None:
                        self._add(wanted, route)
                    elif not (former == route):  # noqa: SIM201 - a call less in attrs
                        self._add(wanted, route)
                        self._add(left, former)
                yield

    def _missing(
        self,
        before: Mapping[str, Route],
        after: Mapping[str, Route],
        left: list[Wanted],
    ) -> Iterator[None]:
        """Find what C{before} has and C{after} has not."""
        for some in _looks(before):
            for route in [route for name, route in some if name not in after]:
                self._add(left, route)
            yield

    def _add(self, found: list[Wanted], route: Route) -> None:
        if isinstance(route, AppRoute):
            app, options = route.app, route.options
            found.extend([Wanted(one, app, options) for one in route.upstreams])
        elif isinstance(route, ApiRoute):
            found.append(Wanted(route.upstream, API_OWNER, self._api_options))


def _looks(routes: Mapping[str, Route]) -> Iterator[list[tuple[str, Route]]]:
    rest = iter(routes.items())
    while some := list(islice(rest, _LOOK)):
        yield some


def _one_less(counts: dict[str, int], key: str) -> bool:
    """Count one place less; true: that was the last one."""
    counts[key] -= 1
    if counts[key]:
        return False
    del counts[key]
    return True
