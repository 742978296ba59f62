"""C{dev.haloy.*} labels <-> values: what a container says of itself.

Reading is C{spec/labels.md} section 1 with its "do" notes: strict index match,
gaps allowed, aliases in the order of their index. Writing gives exactly the labels
that both implementations agree on, and ours beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

from haloy.errors import InvalidValue
from haloy.model.app import Domain, HealthCheck, Protocol, ProxyOptions, Strategy
from haloy.model.names import (
    AppName,
    DeploymentId,
    parse_domain_name,
    parse_health_path,
)
from haloy.model.options import options_from_labels, options_to_labels

PREFIX = "dev.haloy."
APP = PREFIX + "appName"
DEPLOYMENT = PREFIX + "deployment-id"
PORT = PREFIX + "port"
HEALTH_PATH = PREFIX + "health-check-path"
MIN_READY = PREFIX + "min-ready-seconds"
ROLE = PREFIX + "role"
MANAGED_BY = PREFIX + "managed-by"
REPLICA = PREFIX + "replica"
STRATEGY = PREFIX + "strategy"
INSTANCE = PREFIX + "instance"

MANAGER = "haloyd"
DEFAULT_PORT = 8080

_DOMAIN = re.compile(r"dev\.haloy\.domain\.([0-9]{1,6})(?:\.alias\.([0-9]{1,6}))?")
_PORT = re.compile(r"[0-9]{1,5}")
_COUNT = re.compile(r"[0-9]{1,9}")


@frozen
class AppLabels:
    """What the labels of one container say.

    C{replica} counts from 1 and is 0 when the label is absent (containers of the
    Go daemon and those started by hand have none). C{instance} is the haloyd that
    made the container: two on one Docker leave each other's alone.
    """

    app: AppName
    deployment: DeploymentId
    domains: tuple[Domain, ...] = ()
    port: int = DEFAULT_PORT
    health: HealthCheck = HealthCheck()
    proxy: ProxyOptions = ProxyOptions()
    replica: int = 0
    strategy: Strategy | None = None
    managed: bool = False
    instance: str = ""


def parse_labels(labels: Mapping[str, str]) -> AppLabels | None:
    """Return what C{labels} say; C{None} for a container that is not ours to route.

    @raise InvalidValue: it has an app name and something wrong beside it; the
        field is the label.
    """
    app = labels.get(APP)
    if app is None:
        return None
    deployment = labels.get(DEPLOYMENT, "")
    if not app or not deployment:
        raise InvalidValue("is missing or empty", field=DEPLOYMENT if app else APP)
    path = parse_health_path(labels.get(HEALTH_PATH, "/"), HEALTH_PATH)
    options = options_from_labels(labels)
    return AppLabels(
        app=AppName(app),
        deployment=DeploymentId(deployment),
        domains=_domains(labels),
        port=_port(labels.get(PORT)),
        health=HealthCheck(
            path=path,
            min_ready_s=_number(labels.get(MIN_READY, "0")),
            h2c=options.protocol is Protocol.H2C,
        ),
        proxy=options,
        replica=_number(labels.get(REPLICA, "0")),
        strategy=_strategy(labels.get(STRATEGY)),
        managed=labels.get(MANAGED_BY) == MANAGER,
        instance=labels.get(INSTANCE, ""),
    )


def to_labels(said: AppLabels) -> dict[str, str]:
    """Return the labels of a container of ours; what is default is left out."""
    labels = {
        APP: said.app,
        DEPLOYMENT: said.deployment,
        PORT: str(said.port),
        HEALTH_PATH: said.health.path,
        ROLE: "app",
    }
    if said.health.min_ready_s > 0:
        labels[MIN_READY] = str(said.health.min_ready_s)
    for i, domain in enumerate(said.domains):
        labels[f"{PREFIX}domain.{i}"] = domain.canonical
        for j, alias in enumerate(domain.aliases):
            labels[f"{PREFIX}domain.{i}.alias.{j}"] = alias
    if said.managed:
        labels[MANAGED_BY] = MANAGER
    if said.replica:
        labels[REPLICA] = str(said.replica)
    if said.strategy is not None:
        labels[STRATEGY] = said.strategy.value
    if said.instance:
        labels[INSTANCE] = said.instance
    return labels | options_to_labels(said.proxy)


def _domains(labels: Mapping[str, str]) -> tuple[Domain, ...]:
    canonical: dict[int, str] = {}
    aliases: dict[int, dict[int, str]] = {}
    for key, value in labels.items():
        match = _DOMAIN.fullmatch(key)
        if match is None:
            continue
        index = int(match[1])
        name = parse_domain_name(value, key, wildcard=match[2] is None)
        if match[2] is None:
            canonical[index] = name
        else:
            aliases.setdefault(index, {})[int(match[2])] = name
    orphans = aliases.keys() - canonical.keys()
    if orphans:
        raise InvalidValue(
            "an alias needs its domain beside it",
            field=f"{PREFIX}domain.{min(orphans)}",
        )
    return tuple(
        Domain(
            parse_domain_name(canonical[i], wildcard=True),
            tuple(
                parse_domain_name(name)
                for _, name in sorted(aliases.get(i, {}).items())
            ),
        )
        for i in sorted(canonical)
    )


def _port(text: str | None) -> int:
    if text is None:
        return DEFAULT_PORT
    if _PORT.fullmatch(text) is None or not 1 <= int(text) <= 65535:
        raise InvalidValue(f"{text!r} is not a port (1 to 65535)", field=PORT)
    return int(text)


def _number(text: str) -> int:
    """Return a small count; what is none counts as 0 (C{spec/labels.md} section 1)."""
    return int(text) if _COUNT.fullmatch(text) else 0


def _strategy(text: str | None) -> Strategy | None:
    return Strategy(text) if text in {one.value for one in Strategy} else None
