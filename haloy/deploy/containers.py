"""What a replica is created from: names, environment, labels, policy. Pure.

Rules: C{spec/labels.md} section 2.
"""

from __future__ import annotations

from haloy.config.app_file import Target
from haloy.config.daemon_file import PolicySettings
from haloy.config.options import domains, health_check, proxy_options
from haloy.config.units import parse_size
from haloy.engine.interface import ContainerSpec, Resources
from haloy.errors import PolicyRefused
from haloy.model.app import App, Naming, Strategy
from haloy.model.labels import APP, AppLabels, to_labels
from haloy.model.names import DEFAULT_NETWORK, AppName, DeploymentId


def app_of(target: Target, deployment: DeploymentId) -> App:
    """Return the app that C{target} describes, without replicas."""
    return App(
        name=AppName(target.name or ""),
        deployment=deployment,
        domains=domains(target),
        port=int(target.port or "8080"),
        health=health_check(target),
        proxy=proxy_options(target.proxy),
    )


def strategy_of(target: Target) -> Strategy:
    """Return the strategy of C{target}."""
    return Strategy(target.deployment_strategy or "rolling")


def naming_of(target: Target) -> Naming:
    """Return how containers of C{target} are named."""
    return Naming(target.naming_strategy or "dynamic")


def replica_count(target: Target) -> int:
    """Return how many replicas C{target} wants."""
    return 1 if target.replicas is None else target.replicas


def container_name(target: Target, deployment: DeploymentId, number: int) -> str:
    """Return the name of one replica's container."""
    base = target.name or ""
    if naming_of(target) is Naming.DYNAMIC:
        base = f"{base}-{deployment}"
    return f"{base}-r{number}" if replica_count(target) > 1 else base


def container_spec(
    target: Target,
    deployment: DeploymentId,
    number: int,
    image: str,
    instance: str = "",
) -> ContainerSpec:
    """Return what to create for one replica. C{target} has literal values only.

    @param instance: which haloyd makes it, C{""} for the only one.
    """
    app = app_of(target, deployment)
    said = AppLabels(
        app=app.name,
        deployment=deployment,
        domains=app.domains,
        port=app.port,
        health=app.health,
        proxy=app.proxy,
        replica=number,
        strategy=strategy_of(target),
        managed=True,
        instance=instance,
    )
    entry = target.resources
    return ContainerSpec(
        name=container_name(target, deployment, number),
        image=image,
        env=(
            *(f"{one.name}={one.value or ''}" for one in target.env or ()),
            f"HALOY_REPLICA_ID={number}",
        ),
        labels=to_labels(said),
        network=target.network or DEFAULT_NETWORK,
        binds=tuple(volume.strip() for volume in target.volumes or ()),
        resources=Resources(
            memory_bytes=(
                parse_size(entry.memory, "resources.memory")
                if entry is not None and entry.memory is not None
                else None
            ),
            cpus=entry.cpus if entry is not None else None,
            pids=entry.pids if entry is not None else None,
        ),
    )


def network_problem(network: str) -> str:
    """Return why an app with domains cannot be on C{network}, C{""}: it can."""
    if network == "none":
        return "an app with domains needs a network; network: none has none"
    if network.startswith("container:"):
        return (
            "an app with domains needs an address of its own; "
            "network: container:… shares another's"
        )
    return ""


def named_volumes(target: Target) -> tuple[str, ...]:
    """Return the volumes that must exist; bind mounts are not among them."""
    sources = (volume.strip().partition(":")[0] for volume in target.volumes or ())
    return tuple(source for source in sources if not source.startswith("/"))


def volume_labels(app: AppName) -> dict[str, str]:
    """Return the one label by which an app's volumes are found again."""
    return {APP: app}


def refuse_forbidden(target: Target, policy: PolicySettings) -> None:
    """@raise PolicyRefused: C{policy} of this server does not allow what is asked."""
    if target.network == "host" and policy.host_network == "refuse":
        raise PolicyRefused(
            "network: host is not allowed on this server "
            "(policy.host_network in haloyd.yaml)"
        )
    for volume in target.volumes or ():
        source = volume.strip().partition(":")[0]
        if source.startswith("/") and not _mount_allowed(source, policy):
            raise PolicyRefused(
                f"bind mount {source} is not allowed on this server "
                "(policy.bind_mounts in haloyd.yaml)"
            )


def _mount_allowed(source: str, policy: PolicySettings) -> bool:
    allowed = policy.bind_mounts
    if isinstance(allowed, str):
        return allowed == "allow"
    parts = source.rstrip("/").split("/")
    if ".." in parts:
        return False
    return any(
        parts[: len(prefix.rstrip("/").split("/"))] == prefix.rstrip("/").split("/")
        for prefix in allowed
    )
