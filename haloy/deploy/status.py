"""How an app is, from its containers, our intent and the monitor's verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection

from haloy.deploy.discovery import Found, newest_started
from haloy.deploy.interface import AppStatus, ReplicaStatus
from haloy.engine.interface import ContainerState
from haloy.model.app import Assessment
from haloy.model.names import AppName, DeploymentId

#: The most telling state of several (C{spec/api.md} 4.18).
_RANK = (
    ContainerState.RESTARTING,
    ContainerState.PAUSED,
    ContainerState.RUNNING,
    ContainerState.EXITED,
    ContainerState.CREATED,
    ContainerState.DEAD,
)


def app_status(
    name: AppName,
    active: DeploymentId | None,
    members: tuple[Found, ...],
    draining: Collection[str],
    assess: Callable[[str], Assessment | None],
) -> AppStatus | None:
    """Return the status of an app, C{None} when nothing of it is here.

    State, id and domains are those of the deployment that should serve; containers
    of another one are listed as draining.
    """
    serving = active or newest_started(members)
    if serving is None and members:
        serving = members[0].labels.deployment
    if serving is None:
        return None
    current = [one for one in members if one.labels.deployment == serving]
    labels = current[0].labels if current else None
    return AppStatus(
        app=name,
        state=_state(current),
        deployment=serving,
        domains=labels.domains if labels is not None else (),
        replicas=tuple(
            _replica(one, one.container.id in draining, assess)
            for one in members
            if one in current or one.container.id in draining
        ),
    )


def _state(members: list[Found]) -> str:
    present = {one.container.state for one in members}
    for state in _RANK:
        if state in present:
            return state.value
    return "unknown"


def _replica(
    one: Found, draining: bool, assess: Callable[[str], Assessment | None]
) -> ReplicaStatus:
    container = one.container
    return ReplicaStatus(
        container_id=container.id,
        name=container.name,
        number=one.replica.number,
        deployment=one.labels.deployment,
        state=container.state.value,
        assessment=assess(container.id),
        image=container.image,
        restarts=container.restarts,
        started_at=container.started_at,
        draining=draining,
    )
