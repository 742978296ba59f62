"""Host name -> route: an immutable table, replaced whole.

L{build_table} is the only way to make one. A plain route pays nothing for
options it does not use: what is optional hangs off L{AppRoute.options}.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen

from haloy.model.app import Address, Domain, ProxyOptions, UnixAddress
from haloy.model.names import AppName, DomainName


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


@frozen
class DomainConflict:
    """C{loser} asked for C{domain}, which belongs to C{owner} (C{"haloyd"}: the API)."""

    domain: DomainName
    owner: str
    loser: AppName


@frozen
class RouteTable:
    """All routes. Keys are lower case, no port, no trailing dot; C{wildcard} is keyed
    by the part after C{*.}. C{generation} grows with every table of one haloyd.
    """

    generation: int = 0
    exact: Mapping[str, Route] = field(factory=dict)
    wildcard: Mapping[str, Route] = field(factory=dict)


def build_table(
    generation: int,
    api: tuple[DomainName, UnixAddress | Address] | None,
    apps: Sequence[RoutedApp],
) -> tuple[RouteTable, tuple[DomainConflict, ...]]:
    """Return the table for C{apps} and the domains that could not be given.

    Earlier entries of C{apps} own their domains first; a conflict costs the loser
    that one domain and nobody else anything.
    """
    raise NotImplementedError


def look_up(table: RouteTable, host: str) -> Route | None:
    """Return the route for C{host} (any case, port allowed): exact, then wildcard."""
    raise NotImplementedError
