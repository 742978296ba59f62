"""Calls of Docker's client that take more than a line; each blocks, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from docker import APIClient
from docker.errors import APIError
from docker.types import LogConfig

from haloy.engine.interface import ContainerSpec

#: For one answer of Docker's.
CALL_LIMIT_S = 20
LOG_DRIVERS_WITH_LIMIT = frozenset({"json-file", "local"})


def create(spec: ContainerSpec, log_driver: str) -> Callable[[APIClient], str]:
    """Return what creates a container and gives its full id.

    @param log_driver: the engine's; its logs are limited where it can do that.
    """

    def create_it(client: APIClient) -> str:
        limit = spec.resources
        log = None
        if log_driver in LOG_DRIVERS_WITH_LIMIT:
            log = LogConfig(
                type=log_driver, config={"max-size": "10m", "max-file": "3"}
            )
        host = client.create_host_config(
            binds=list(spec.binds) or None,
            network_mode=spec.network,
            restart_policy={"Name": spec.restart},
            security_opt=["no-new-privileges:true"],
            log_config=log,
            mem_limit=limit.memory_bytes,
            nano_cpus=None if limit.cpus is None else int(limit.cpus * 1e9),
            pids_limit=limit.pids,
        )
        made = client.create_container(
            spec.image,
            name=spec.name,
            environment=list(spec.env),
            labels=dict(spec.labels),
            host_config=host,
        )
        return str(made["Id"])

    return create_it


def attach(container_id: str, network: str) -> Callable[[APIClient], None]:
    """Return what puts a container on C{network} anew.

    What is down keeps the id of the network that it was on, which may be gone.
    """

    def attach_it(client: APIClient) -> None:
        with suppress(APIError):  # it was on none
            client.disconnect_container_from_network(container_id, network, force=True)
        client.connect_container_to_network(container_id, network)

    return attach_it
