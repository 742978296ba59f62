"""How an app is, from its containers, our intent and the monitor's verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from haloy.deploy.discovery import Found, newest_started
from haloy.deploy.interface import AppStatus, DeploymentState, ReplicaStatus
from haloy.deploy.networks import is_cut_off
from haloy.engine.interface import Container, ContainerState
from haloy.model.app import Assessment, Verdict
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import Leftover

#: The most telling state of several (C{spec/api.md} 4.18).
_RANK = (
    ContainerState.RESTARTING,
    ContainerState.PAUSED,
    ContainerState.RUNNING,
    ContainerState.EXITED,
    ContainerState.CREATED,
    ContainerState.DEAD,
)
_NEVER = datetime.min.replace(tzinfo=UTC)


def app_status(
    name: AppName,
    active: DeploymentId | None,
    members: tuple[Found, ...],
    draining: Mapping[str, Leftover],
    assess: Callable[[str], Assessment | None],
    deploying: DeploymentState | None,
) -> AppStatus | None:
    """Return the status of an app, C{None} when nothing of it is here.

    State, id and domains are those of the deployment that should serve; containers
    of the one before it are listed while they drain.

    @param draining: what still runs on containers that drain, by their id.
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
            _replica(one, draining.get(one.container.id), assess)
            for one in members
            if one in current or one.container.id in draining
        ),
        deploying=deploying,
    )


def _state(members: list[Found]) -> str:
    present = {one.container.state for one in members}
    for state in _RANK:
        if state in present:
            return state.value
    return "unknown"


def _replica(
    one: Found, left: Leftover | None, assess: Callable[[str], Assessment | None]
) -> ReplicaStatus:
    container = one.container
    return ReplicaStatus(
        container_id=container.id,
        name=container.name,
        number=one.replica.number,
        deployment=one.labels.deployment,
        state=container.state.value,
        assessment=_trouble(container) or _cut_off(one) or assess(container.id),
        image=container.image,
        restarts=container.restarts,
        started_at=container.started_at,
        draining=left is not None,
        draining_requests=0 if left is None else left.requests,
        draining_tunnels=0 if left is None else left.tunnels,
    )


def _cut_off(one: Found) -> Assessment | None:
    """Return that C{one} runs where nobody reaches it; nobody asks it then."""
    if not is_cut_off(one):
        return None
    reason = f"it is on no network: {one.container.network_mode} is gone, or was taken"
    # Since when is not known, but not for longer than it runs.
    since = one.container.started_at or _NEVER
    return Assessment(Verdict.UNHEALTHY, reason, since)


def _trouble(container: Container) -> Assessment | None:
    """Return why a container that does not run is of no use (crash loop, OOM)."""
    if container.state is ContainerState.RUNNING:
        return None
    how = "was killed for want of memory" if container.oom_killed else "ended"
    reason = f"it {how} with code {container.exit_code}"
    if container.state is ContainerState.RESTARTING:
        reason += f"; Docker has started it again {container.restarts} times"
    elif container.state is ContainerState.PAUSED:
        reason = "it is paused"
    elif container.state is ContainerState.CREATED:
        reason = container.error or "it was never started"
    since = container.finished_at or container.created_at or _NEVER
    return Assessment(Verdict.UNHEALTHY, reason, since)
