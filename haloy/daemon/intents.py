"""Who should get requests: a frozen value, changed by what is decided and what is seen.

Three sources speak here and none overrides another: a deployment admits and
retires replicas; the health monitor ejects and readmits them; Docker tells which
have died. A replica is routed when it is admitted, alive and not ejected.

Pure: no I/O and no clock. C{daemon.routing} holds the current value and publishes
the table made of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from haloy.errors import Conflict
from haloy.model.app import App, Domain, Replica
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import RoutedApp, Upstream


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

    def routed(self) -> tuple[RoutedApp, ...]:
        """Return what the table is built from; an app without a fit replica stays."""
        serving: dict[AppName, list[Upstream]] = {name: [] for name in self.apps}
        for key, replica in self.admitted.items():
            if (
                replica.app in serving
                and replica.address is not None
                and key not in self.ejected
            ):
                serving[replica.app].append(Upstream(key, replica.address))
        return tuple(
            RoutedApp(
                name=app.name,
                domains=app.domains,
                upstreams=tuple(serving[name]),
                options=app.proxy,
            )
            for name, app in self.apps.items()
        )

    def domains(self) -> tuple[Domain, ...]:
        """Return every domain that wants a certificate, the API's first."""
        own = (Domain(self.api_domain),) if self.api_domain else ()
        return own + tuple(one for app in self.apps.values() for one in app.domains)


def _names(domains: Iterable[Domain]) -> list[DomainName]:
    """Return canonical names and aliases, in order."""
    return [name for one in domains for name in (one.canonical, *one.aliases)]
