"""Who should get requests: a frozen value, changed by what is decided and what is seen.

Three sources speak here and none overrides another: a deployment admits and
retires replicas; the health monitor ejects and readmits them; Docker tells which
have died. A replica is routed when it is admitted, alive and not ejected.

Pure: no I/O and no clock. C{daemon.routing} holds the current value and publishes
the table made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve, field, frozen

from haloy.errors import Conflict
from haloy.model.app import App, Domain, Replica
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import RoutedApp, Upstream

_NOTHING: Final[Mapping[AppName, RoutedApp]] = {}


@frozen
class Intents:
    """What is wanted of the route table.

    C{apps} keeps the order in which apps came: the earlier one owns a domain that
    two want. C{claims} are the domains a running deployment has reserved.
    """

    api_domain: DomainName | None = None
    apps: Mapping[AppName, App] = field(factory=dict)
    admitted: Mapping[str, Replica] = field(factory=dict)
    ejected: frozenset[str] = frozenset()
    claims: Mapping[AppName, tuple[Domain, ...]] = field(factory=dict)

    def owner(self, name: DomainName) -> str | None:
        """Return the app that has C{name}, C{"haloyd"} for the API's, or C{None}."""
        if name == self.api_domain:
            return "haloyd"
        for app in self.apps.values():
            if name in _names(app.domains):
                return app.name
        for claimant, domains in self.claims.items():
            if name in _names(domains):
                return claimant
        return None

    def claim(self, app: AppName, domains: tuple[Domain, ...]) -> Intents:
        """Reserve C{domains} for C{app}; its earlier reservation is replaced.

        @raise Conflict: another app has one of them; the text names it.
        """
        for name in _names(domains):
            owner = self.owner(name)
            if owner is not None and owner != app:
                whose = "haloyd's API" if owner == "haloyd" else f"app {owner}"
                raise Conflict(
                    f"domain {name} belongs to {whose}; remove it there first, "
                    f"or give {app} another domain"
                )
        return evolve(self, claims={**self.claims, app: domains})

    def admit(self, app: App, replicas: Iterable[Replica]) -> Intents:
        """Send requests of C{app} to C{replicas} too, by C{app}'s domains and options.

        An admitted replica starts without a verdict against it.
        """
        added = {replica.container_id: replica for replica in replicas}
        return evolve(
            self,
            apps={**self.apps, app.name: app},
            admitted={**self.admitted, **added},
            ejected=self.ejected - added.keys(),
        )

    def retire(self, containers: Iterable[str]) -> Intents:
        """Take containers out for good: retired, died or vanished."""
        gone = set(containers)
        left = {key: one for key, one in self.admitted.items() if key not in gone}
        return evolve(self, admitted=left, ejected=self.ejected - gone)

    def eject(self, container: str) -> Intents:
        """Take a container out until it is readmitted."""
        if container not in self.admitted:
            return self
        return evolve(self, ejected=self.ejected | {container})

    def readmit(self, container: str) -> Intents:
        """Take the verdict against a container back."""
        return evolve(self, ejected=self.ejected - {container})

    def forget(self, app: AppName) -> Intents:
        """Give up an app: its routes, its replicas and its domains."""
        gone = [key for key, one in self.admitted.items() if one.app == app]
        return evolve(
            self.retire(gone),
            apps={name: one for name, one in self.apps.items() if name != app},
            claims={name: one for name, one in self.claims.items() if name != app},
        )

    def routed(
        self,
        former: Mapping[AppName, RoutedApp] = _NOTHING,
        earlier: Intents | None = None,
    ) -> tuple[RoutedApp, ...]:
        """Return what the table is built from; an app without a fit replica stays.

        C{former} is what this returned of C{earlier}, by name. What is as there is the
        same object.
        """
        changed = self.apps.keys() if earlier is None else self._changed(earlier)
        serving: dict[AppName, list[Replica]] = {name: [] for name in changed}
        for key, replica in self.admitted.items():
            if (
                replica.app in serving
                and replica.address is not None
                and key not in self.ejected
            ):
                serving[replica.app].append(replica)
        return tuple(
            [
                _routed(app, serving[name], former.get(name))
                if name in serving
                else former[name]
                for name, app in self.apps.items()
            ]
        )

    def _changed(self, earlier: Intents) -> set[AppName]:
        """Return the apps that may be served otherwise than by C{earlier}."""
        was, now = earlier.admitted, self.admitted
        others = [key for key, one in now.items() if was.get(key) is not one]
        replicas = [now[key] for key in others]
        replicas += [was[key] for key in others if key in was]
        replicas += [one for key, one in was.items() if key not in now]
        judged = self.ejected ^ earlier.ejected
        replicas += [now[key] for key in judged if key in now]
        found = {one.app for one in replicas} & self.apps.keys()
        apps = earlier.apps
        found.update(
            [name for name, app in self.apps.items() if apps.get(name) is not app]
        )
        return found

    def domains(self) -> tuple[Domain, ...]:
        """Return every domain that wants a certificate, the API's first."""
        own = (Domain(self.api_domain),) if self.api_domain else ()
        return own + tuple(one for app in self.apps.values() for one in app.domains)


def _names(domains: Iterable[Domain]) -> list[DomainName]:
    """Return canonical names and aliases, in order."""
    return [name for one in domains for name in (one.canonical, *one.aliases)]


def _routed(app: App, serving: list[Replica], former: RoutedApp | None) -> RoutedApp:
    """Return C{app} with whoever serves it: C{former}, if that is the same."""
    if (
        former is not None
        and former.domains is app.domains
        and former.options is app.proxy
        and [(one.key, one.address) for one in former.upstreams]
        == [(one.container_id, one.address) for one in serving]
    ):
        return former
    upstreams = [
        Upstream(one.container_id, one.address)
        for one in serving
        if one.address is not None
    ]
    return RoutedApp(app.name, app.domains, tuple(upstreams), app.proxy)
