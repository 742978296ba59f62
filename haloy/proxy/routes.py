"""Host name -> route: an immutable table, replaced whole.

L{build_table} is the way to make one, L{TableBuilder} to make many. A plain route
pays nothing for options it does not use: what is optional hangs off
L{AppRoute.options}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final, TypeVar

from attrs import field, frozen

from haloy.model.app import Address, Domain, ProxyOptions, UnixAddress
from haloy.model.names import AppName, DomainName

# Who owns the API's domain in a conflict, and the key of the API's upstream.
API_OWNER: Final = "haloyd"

T = TypeVar("T")


@frozen
class Upstream:
    """A replica as the proxy sees it; C{key} is the container id and ties it to it."""

    key: str
    address: Address | UnixAddress


@frozen
class AppRoute:
    """A canonical domain of an app and who answers; no upstreams: 503."""

    app: AppName
    canonical: DomainName
    upstreams: tuple[Upstream, ...]
    options: ProxyOptions = ProxyOptions()


@frozen
class RedirectRoute:
    """An alias: to the canonical name."""

    canonical: DomainName
    hsts_max_age_s: int | None = None


@frozen
class ApiRoute:
    """haloyd's own API."""

    upstream: Upstream


Route = AppRoute | RedirectRoute | ApiRoute


@frozen
class RoutedApp:
    """What L{build_table} needs of an app: who may serve it right now."""

    name: AppName
    domains: tuple[Domain, ...]
    upstreams: tuple[Upstream, ...]
    options: ProxyOptions = ProxyOptions()

    @cached_property
    def own(self) -> tuple[tuple[Domain, AppRoute], ...]:
        """Its domains and the routes of their canonical names: the same in each table.

        So who compares two tables does not have to look into what has not changed.
        """
        return tuple([(domain, _app_route(self, domain)) for domain in self.domains])


@frozen
class DomainConflict:
    """C{loser} asked for C{domain}, which C{owner} has; C{"haloyd"} is the API."""

    domain: DomainName
    owner: str
    loser: AppName


@frozen
class RouteTable:
    """All routes.

    Keys are lower case, no port, no trailing dot; C{wildcard} is keyed by the
    part after C{*.}. C{generation} grows with every table of one haloyd.
    """

    generation: int = 0
    exact: Mapping[str, Route] = field(factory=dict)
    wildcard: Mapping[str, Route] = field(factory=dict)


def build_table(
    generation: int,
    api: tuple[DomainName, UnixAddress | Address] | None,
    apps: Sequence[RoutedApp],
) -> tuple[RouteTable, Sequence[DomainConflict]]:
    """Return the table for C{apps} and the domains that could not be given.

    Earlier entries of C{apps} own their domains first; a conflict costs the loser
    that one domain and nobody else anything. Aliases of a canonical domain that
    was not given are left out: they would lead to somebody else's app.
    """
    return TableBuilder().build(generation, api, apps)


class TableBuilder:
    """Builds one table after the other, and works out again only what has changed.

    Who owns which name is asked anew when an app comes, goes or has other domains.
    """

    def __init__(self) -> None:
        self._api: tuple[DomainName, UnixAddress | Address] | None = None
        self._apps: Sequence[RoutedApp] = ()
        self._owners: dict[str, str] = {}
        self._conflicts: list[DomainConflict] = []
        self._own: dict[str, Route] = {}  # the API's
        self._table = RouteTable()

    def build(
        self,
        generation: int,
        api: tuple[DomainName, UnixAddress | Address] | None,
        apps: Sequence[RoutedApp],
    ) -> tuple[RouteTable, Sequence[DomainConflict]]:
        """Return what L{build_table} does."""
        changed = None
        if api == self._api:
            changed = _changed_alone(self._apps, apps)
        if changed is None:
            changed = apps
            self._begin(api)
        exact, wildcard = dict(self._table.exact), dict(self._table.wildcard)
        for app in changed:
            self._place(app, exact, wildcard)
        exact |= self._own
        self._apps = apps
        self._table = RouteTable(generation, exact, wildcard)
        return self._table, tuple(self._conflicts)

    def _begin(self, api: tuple[DomainName, UnixAddress | Address] | None) -> None:
        """Let nobody but the API own a name."""
        self._api = api
        self._owners, self._conflicts, self._own = {}, [], {}
        if api is not None:
            name, address = api
            self._own[_key(name)] = ApiRoute(Upstream(API_OWNER, address))
            self._owners[_key(name)] = API_OWNER
        self._table = RouteTable(0, self._own)

    def _place(
        self, app: RoutedApp, exact: dict[str, Route], wildcard: dict[str, Route]
    ) -> None:
        """Put the routes of C{app} where no other app's are."""
        mine: dict[str, Route] = {}

        def give(domain: DomainName, name: str, route: Route) -> bool:
            owner = self._owners.setdefault(name, app.name)
            if owner != app.name:
                self._note(DomainConflict(domain, owner, app.name))
                return False
            mine.setdefault(name, route)
            return True

        given = [
            (domain, own)
            for domain, own in app.own
            if give(domain.canonical, own.canonical, own)
        ]
        for domain, own in given:
            if not domain.aliases:
                continue
            route: Route = own
            if not own.canonical.startswith("*."):
                route = RedirectRoute(own.canonical, app.options.hsts_max_age_s)
            for alias in domain.aliases:
                give(alias, _key(alias), route)
        for name, route in mine.items():
            if name.startswith("*."):
                wildcard[name[2:]] = route
            else:
                exact[name] = route

    def _note(self, conflict: DomainConflict) -> None:
        if conflict not in self._conflicts:
            self._conflicts.append(conflict)


def _changed_alone(
    before: Sequence[RoutedApp], after: Sequence[RoutedApp]
) -> Sequence[RoutedApp] | None:
    """Return the apps that are others in C{after}, by the same names in one order.

    C{None}: names or domains are others, too.
    """
    if len(before) != len(after):
        return None
    pairs = [
        (old, new) for old, new in zip(before, after, strict=True) if old is not new
    ]
    for old, new in pairs:
        if old.name != new.name or old.domains != new.domains:
            return None
    return [new for _, new in pairs]


def find(table: RouteTable, name: str) -> Route | None:
    """Return the route for C{name}: lower case, no port, no trailing dot."""
    route = table.exact.get(name)
    if route is None and table.wildcard:
        route = table.wildcard.get(name.partition(".")[2])
    return route


def owner_of(table: RouteTable, route: Route | None) -> str:
    """Return the app that C{route} leads to, C{"haloyd"} for the API, else C{""}."""
    if isinstance(route, RedirectRoute):
        route = find(table, route.canonical)
    if isinstance(route, AppRoute):
        return route.app
    return API_OWNER if isinstance(route, ApiRoute) else ""


def _app_route(app: RoutedApp, domain: Domain) -> AppRoute:
    canonical = DomainName(_key(domain.canonical))
    return AppRoute(app.name, canonical, app.upstreams, app.options)


def _key(domain: str) -> str:
    return domain.lower().removesuffix(".")


def apps_of(table: RouteTable) -> dict[str, str]:
    """Return whose each upstream of C{table} is, by its key."""
    found: dict[str, str] = {}
    for route in (*table.exact.values(), *table.wildcard.values()):
        if isinstance(route, ApiRoute):
            found[route.upstream.key] = API_OWNER
        elif isinstance(route, AppRoute):
            found.update((one.key, str(route.app)) for one in route.upstreams)
    return found


def changed(before: Mapping[str, T], after: Mapping[str, T]) -> list[tuple[str, T]]:
    """Return what C{after} has new, or otherwise than C{before}, in its order."""
    return [
        (name, route)
        for name, route in after.items()
        if (old := before.get(name)) is not route and old != route
    ]
