"""Docker's JSON -> the values of C{engine.interface}. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from haloy.engine.interface import (
    Attachment,
    Container,
    ContainerState,
    Credentials,
    EngineEvent,
    EngineInfo,
    HealthState,
    Image,
)

HUB_AUTH_ADDRESS = "https://index.docker.io/v1/"

#: What C{docker info} calls a machine -> what images call it.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "i386": "386",
}


def container_from(found: Mapping[str, Any]) -> Container:
    """Return the container of one inspect."""
    state, config = found["State"], found["Config"]
    health = state.get("Health") or {}
    last = (health.get("Log") or [{}])[-1] or {}
    networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
    return Container(
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        image=config.get("Image") or "",
        image_id=found.get("Image") or "",
        labels=dict(config.get("Labels") or {}),
        state=ContainerState(state.get("Status") or "created"),
        exit_code=int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error") or "",
        created_at=parse_time(found.get("Created")),
        started_at=parse_time(state.get("StartedAt")),
        finished_at=parse_time(state.get("FinishedAt")),
        restarts=int(found.get("RestartCount") or 0),
        health=_health(health.get("Status")),
        health_output=str(last.get("Output") or "").strip()[:1000],
        network_mode=(found.get("HostConfig") or {}).get("NetworkMode") or "",
        networks={
            name: Attachment(
                ipv4=one.get("IPAddress") or "", ipv6=one.get("GlobalIPv6Address") or ""
            )
            for name, one in networks.items()
        },
        exposed_ports=exposed_ports(config.get("ExposedPorts")),
        tty=bool(config.get("Tty")),
        pid=int(state.get("Pid") or 0),
        memory_limit_bytes=int((found.get("HostConfig") or {}).get("Memory") or 0),
    )


def image_from(found: Mapping[str, Any]) -> Image:
    """Return the image of one inspect."""
    return Image(
        id=found["Id"],
        tags=tuple(found.get("RepoTags") or ()),
        digests=tuple(found.get("RepoDigests") or ()),
        architecture=found.get("Architecture") or "",
        os=found.get("Os") or "",
        exposed_ports=exposed_ports((found.get("Config") or {}).get("ExposedPorts")),
        size_bytes=int(found.get("Size") or 0),
        created_at=parse_time(found.get("Created")),
    )


def info_from(found: Mapping[str, Any], here: bool = True) -> EngineInfo:
    """Return what the engine says of itself; C{here}: it is on this machine."""
    machine = found.get("Architecture") or ""
    root_dir = found.get("DockerRootDir") or ""
    status = found.get("DriverStatus") or ()
    by_containerd = any("containerd" in str(one[-1]) for one in status)
    return EngineInfo(
        version=found.get("ServerVersion") or "",
        architecture=_ARCHITECTURES.get(machine, machine),
        os=found.get("OSType") or "",
        root_dir=root_dir,
        log_driver=found.get("LoggingDriver") or "",
        image_dir=root_dir if here and not by_containerd else "",
    )


def event_from(found: Mapping[str, Any]) -> EngineEvent:
    """Return one event of the stream."""
    actor = found.get("Actor") or {}
    seconds = int(found.get("timeNano") or 0) / 1e9 or float(found.get("time") or 0)
    action = found.get("Action") or found.get("status") or ""
    attributes = dict(actor.get("Attributes") or {})
    container = actor.get("ID") or found.get("id") or ""
    if found.get("Type") == "network":
        action = f"network-{action}"
        container = attributes.get("container", "")
    return EngineEvent(
        action=action,
        container_id=container,
        attributes=attributes,
        at=datetime.fromtimestamp(seconds, UTC),
    )


def auth_config(credentials: Credentials) -> dict[str, str]:
    """Return credentials as Docker's API takes them."""
    hub = credentials.server == "docker.io"
    return {
        "username": credentials.username,
        "password": credentials.password,
        "serveraddress": HUB_AUTH_ADDRESS if hub else credentials.server,
    }


def parse_time(text: str | None) -> datetime | None:
    """Return a time of Docker's (nanoseconds, year 1 for "never")."""
    if not text or text.startswith("0001-"):
        return None
    head, dot, tail = text.partition(".")
    if dot:
        digits = tail[: next((i for i, c in enumerate(tail) if not c.isdigit()), None)]
        text = f"{head}.{digits[:6].ljust(6, '0')}{tail[len(digits) :]}"
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def exposed_ports(found: Mapping[str, Any] | None) -> tuple[int, ...]:
    """Return the exposed ports, protocol ignored, in order and each once."""
    ports = {int(key.partition("/")[0]) for key in found or {} if key[:1].isdigit()}
    return tuple(sorted(ports))


def _health(status: str | None) -> HealthState:
    known = {one.value for one in HealthState}
    return HealthState(status) if status in known else HealthState.NONE
