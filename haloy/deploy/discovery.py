"""Labelled containers -> apps, replicas, and what is wrong with the rest. Pure.

Who made a container decides what may be done to it: only ours are ever stopped,
started or removed; others are routed and left alone (C{docs/architecture.md}).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime

from attrs import frozen

from haloy.engine.address import reachable_address
from haloy.engine.interface import Container, ContainerState, HealthState
from haloy.errors import InvalidValue
from haloy.model.app import App, Replica, Verdict
from haloy.model.labels import APP, AppLabels, parse_labels
from haloy.model.names import DEFAULT_NETWORK, AppName, DeploymentId

#: What Docker's HEALTHCHECK means; it counts in the place of requests of ours.
TOLD: Mapping[HealthState, Verdict | None] = {
    HealthState.NONE: None,
    HealthState.STARTING: Verdict.UNKNOWN,
    HealthState.HEALTHY: Verdict.HEALTHY,
    HealthState.UNHEALTHY: Verdict.UNHEALTHY,
}
_NEVER = datetime.min.replace(tzinfo=UTC)
_NUMBER = re.compile(r"-r(\d+)\Z")


@frozen
class Found:
    """One container of an app, with what its labels say."""

    container: Container
    labels: AppLabels
    ours: bool

    @property
    def running(self) -> bool:
        """Whether it runs now (a paused or restarting one does not)."""
        return self.container.state is ContainerState.RUNNING

    @property
    def aside(self) -> str:
        """Return its name while a successor has its own (static naming)."""
        return f"{self.labels.app}-{self.labels.deployment}-old"

    @property
    def replica(self) -> Replica:
        """Return the container as a replica."""
        return Replica(
            container_id=self.container.id,
            name=self.container.name,
            app=self.labels.app,
            deployment=self.labels.deployment,
            number=self.labels.replica or _number(self.container.name),
            address=reachable_address(
                self.container, DEFAULT_NETWORK, self.labels.port
            ),
            managed=self.ours,
            running=self.running,
            started_at=self.container.started_at,
            told=TOLD[self.container.health],
        )


@frozen
class Unusable:
    """A container with an app's label that cannot be used, and why."""

    name: str
    app: str
    reason: str


def discover(
    containers: Iterable[Container],
    known: Collection[tuple[str, str]],
    instance: str = "",
) -> tuple[tuple[Found, ...], tuple[Unusable, ...]]:
    """Return the containers of apps, and those whose labels are not right.

    @param known: (app, id) of the deployments that a Go daemon made; a container
        without our mark is ours when it is named as theirs are.
    @param instance: which haloyd asks; containers of another one are left out.
    """
    found: list[Found] = []
    unusable: list[Unusable] = []
    for container in containers:
        try:
            labels = parse_labels(container.labels)
        except InvalidValue as problem:
            app = container.labels.get(APP, "")
            unusable.append(Unusable(container.name, app, str(problem)))
            continue
        if labels is None or (instance and labels.instance not in ("", instance)):
            continue
        ours = labels.managed or _named_as_ours(container.name, labels, known)
        found.append(Found(container, labels, ours))
    return tuple(found), tuple(unusable)


def by_app(found: Iterable[Found]) -> dict[AppName, tuple[Found, ...]]:
    """Return the containers by app, in the order of replica number and name."""
    apps: dict[AppName, list[Found]] = {}
    for one in sorted(found, key=lambda one: (one.replica.number, one.container.name)):
        apps.setdefault(one.labels.app, []).append(one)
    return {name: tuple(members) for name, members in apps.items()}


def describe(members: tuple[Found, ...], deployment: DeploymentId) -> App | None:
    """Return the app as C{deployment} has it, with the replicas that exist."""
    chosen = [one for one in members if one.labels.deployment == deployment]
    if not chosen:
        return None
    labels = chosen[0].labels
    return App(
        name=labels.app,
        deployment=deployment,
        domains=labels.domains,
        port=labels.port,
        health=labels.health,
        proxy=labels.proxy,
        replicas=tuple(one.replica for one in chosen),
    )


def newest_started(members: tuple[Found, ...]) -> DeploymentId | None:
    """Return the deployment that was started last among those that run.

    Only for apps without desired state: ids of manual containers have no order
    (D18), so the time of the start decides.
    """
    running = [one for one in members if one.running]
    if not running:
        return None
    newest = max(running, key=lambda one: one.container.started_at or _NEVER)
    return newest.labels.deployment


def port_problem(container: Container, port: int) -> str:
    """Return why C{port} cannot be right by the image's EXPOSE, C{""}: it can."""
    exposed = container.exposed_ports
    if not exposed or port in exposed:
        return ""
    shown = ", ".join(str(one) for one in exposed)
    return f"the image exposes {shown}, you said port {port}"


def _named_as_ours(
    name: str, labels: AppLabels, known: Collection[tuple[str, str]]
) -> bool:
    app, deployment = labels.app, labels.deployment
    if (app, deployment) not in known:
        return False
    base = _NUMBER.sub("", name)
    return base in (app, f"{app}-{deployment}")


def _number(name: str) -> int:
    match = _NUMBER.search(name)
    return int(match[1]) if match else 1
