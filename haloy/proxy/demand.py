"""Which upstreams the table wants, worked out from what differs.

A table may have a thousand routes, and the next one other upstreams for one of them:
requests wait while it takes its place, so what is as before costs a look.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from haloy.model.app import ProxyOptions
from haloy.proxy.routes import (
    API_OWNER,
    ApiRoute,
    AppRoute,
    Route,
    RouteTable,
    Upstream,
    changed,
)


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

    def follow(self, table: RouteTable) -> tuple[Sequence[Wanted], Sequence[str]]:
        """Go on to C{table}.

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
            self._compare(old, new, wanted, left)
        for one in wanted:
            key = one.upstream.key
            self._keys[key] = self._keys.get(key, 0) + 1
            self._apps[one.app] = self._apps.get(one.app, 0) + 1
        gone = []
        for one in left:
            if _one_less(self._keys, one.upstream.key):
                gone.append(one.upstream.key)
            _one_less(self._apps, one.app)
        return wanted, gone

    def _compare(
        self,
        before: Mapping[str, Route],
        after: Mapping[str, Route],
        wanted: list[Wanted],
        left: list[Wanted],
    ) -> None:
        for name, route in changed(before, after):
            self._add(wanted, route)
            former = before.get(name)
            if former is not None:
                self._add(left, former)
        for name in before.keys() - after.keys():
            self._add(left, before[name])

    def _add(self, found: list[Wanted], route: Route) -> None:
        if isinstance(route, AppRoute):
            found.extend(
                [Wanted(one, route.app, route.options) for one in route.upstreams]
            )
        elif isinstance(route, ApiRoute):
            found.append(Wanted(route.upstream, API_OWNER, self._api_options))


def _one_less(counts: dict[str, int], key: str) -> bool:
    """Count one place less; true: that was the last one."""
    counts[key] -= 1
    if counts[key]:
        return False
    del counts[key]
    return True
