"""What a replica is created from."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from haloy.config.app_file import DomainEntry, EnvVar, ResourcesEntry, Target
from haloy.config.daemon_file import PolicySettings
from haloy.deploy.containers import (
    container_name,
    container_spec,
    named_volumes,
    network_problem,
    refuse_forbidden,
    volume_labels,
)
from haloy.engine.interface import Resources
from haloy.errors import PolicyRefused
from haloy.model.names import AppName, DeploymentId

ONE = DeploymentId("01one")
TARGET = Target(
    name="shop",
    domains=(DomainEntry("a.example.com", ("www.a.example.com",)),),
    env=(EnvVar("B", "2"), EnvVar("A", "1")),
    port="3000",
    health_check_path="/h",
    min_ready_seconds=7,
    replicas=2,
)


def test_spec_of_the_reference() -> None:
    """Labels, name and environment are those of the Go daemon, ours beside them."""
    spec = container_spec(TARGET, ONE, 2, "shop:01one", "abc")
    assert spec.name == "shop-01one-r2"
    assert spec.env == ("B=2", "A=1", "HALOY_REPLICA_ID=2")
    assert (spec.network, spec.restart) == ("haloy", "unless-stopped")
    assert spec.labels == {
        "dev.haloy.appName": "shop",
        "dev.haloy.deployment-id": "01one",
        "dev.haloy.port": "3000",
        "dev.haloy.health-check-path": "/h",
        "dev.haloy.min-ready-seconds": "7",
        "dev.haloy.domain.0": "a.example.com",
        "dev.haloy.domain.0.alias.0": "www.a.example.com",
        "dev.haloy.role": "app",
        "dev.haloy.managed-by": "haloyd",
        "dev.haloy.replica": "2",
        "dev.haloy.strategy": "rolling",
        "dev.haloy.instance": "abc",
    }


@pytest.mark.parametrize(
    ("naming", "replicas", "name"),
    [
        (None, 1, "shop-01one"),
        ("dynamic", 2, "shop-01one-r1"),
        ("static", 1, "shop"),
        ("static", None, "shop"),
    ],
)
def test_names(naming: str | None, replicas: int | None, name: str) -> None:
    """The suffix is there for several replicas only."""
    target = evolve(TARGET, naming_strategy=naming, replicas=replicas)
    assert container_name(target, ONE, 1) == name


def test_resources() -> None:
    """Limits are bytes, cores and processes; what is not said has none (D21)."""
    entry = ResourcesEntry(memory="512MB", cpus=0.5, pids=100)
    spec = container_spec(evolve(TARGET, resources=entry), ONE, 1, "i")
    assert spec.resources == Resources(512 << 20, 0.5, 100)
    assert container_spec(TARGET, ONE, 1, "i").resources == Resources()
    some = evolve(TARGET, resources=ResourcesEntry(cpus=1))
    assert container_spec(some, ONE, 1, "i").resources == Resources(cpus=1)


def test_volumes() -> None:
    """Named volumes are made before; bind mounts are passed as they are."""
    target = evolve(TARGET, volumes=("data:/data", " /srv:/srv:ro"))
    assert named_volumes(target) == ("data",)
    assert container_spec(target, ONE, 1, "i").binds == ("data:/data", "/srv:/srv:ro")


@pytest.mark.parametrize("network", ["none", "container:x"])
def test_network_without_an_address(network: str) -> None:
    """An app with domains needs an address of its own; the reason is told."""
    assert network_problem(network)


@pytest.mark.parametrize("network", ["haloy", "host", "backend"])
def test_network_with_an_address(network: str) -> None:
    """Any other network will do."""
    assert network_problem(network) == ""


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        ({"host_network": "refuse"}, {"network": "host"}),
        ({"bind_mounts": "refuse"}, {"volumes": ("/etc:/etc",)}),
        ({"bind_mounts": ("/srv",)}, {"volumes": ("/srvx:/a",)}),
        ({"bind_mounts": ("/srv",)}, {"volumes": ("/srv/../etc:/a",)}),
    ],
)
def test_policy_refuses(policy: dict[str, Any], values: dict[str, Any]) -> None:
    """The server's policy decides what may be asked of Docker (D21)."""
    with pytest.raises(PolicyRefused):
        refuse_forbidden(evolve(TARGET, **values), PolicySettings(**policy))


@pytest.mark.parametrize(
    ("policy", "values"),
    [
        ({}, {"network": "host", "volumes": ("/etc:/etc",)}),
        ({"bind_mounts": "refuse"}, {"volumes": ("data:/data",)}),
        ({"bind_mounts": ("/srv/",)}, {"volumes": ("/srv/a:/a", "/srv:/b")}),
        ({"host_network": "refuse"}, {"network": "haloy"}),
    ],
)
def test_policy_allows(policy: dict[str, Any], values: dict[str, Any]) -> None:
    """What is allowed passes; a prefix is one of whole path parts."""
    refuse_forbidden(evolve(TARGET, **values), PolicySettings(**policy))


def test_volume_label() -> None:
    """Volumes are found again by the one label that both daemons write."""
    assert volume_labels(AppName("shop")) == {"dev.haloy.appName": "shop"}
