"""What C{engine.values} makes of Docker's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from haloy.engine.interface import ContainerState, Credentials, HealthState
from haloy.engine.values import (
    auth_config,
    container_from,
    event_from,
    exposed_ports,
    image_from,
    info_from,
    parse_time,
)

INSPECT: dict[str, Any] = {
    "Id": "c1",
    "Name": "/shop-1",
    "Image": "sha256:1",
    "Created": "2026-11-24T10:00:00.123456789Z",
    "RestartCount": 3,
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "OOMKilled": False,
        "Error": "",
        "Pid": 42,
        "StartedAt": "2026-11-24T10:00:01Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
        "Health": {"Status": "unhealthy", "Log": [{"Output": " bad \n"}]},
    },
    "Config": {
        "Image": "shop:1",
        "Labels": {"dev.haloy.appName": "shop"},
        "ExposedPorts": {"8080/tcp": {}, "8080/udp": {}, "90/tcp": {}},
        "Tty": True,
    },
    "HostConfig": {"NetworkMode": "haloy"},
    "NetworkSettings": {
        "Networks": {"haloy": {"IPAddress": "172.18.0.2", "GlobalIPv6Address": ""}}
    },
}


def test_container() -> None:
    """Everything we use of an inspect."""
    found = container_from(INSPECT)
    assert (found.name, found.image, found.image_id) == ("shop-1", "shop:1", "sha256:1")
    assert found.state is ContainerState.RUNNING
    assert found.health is HealthState.UNHEALTHY
    assert found.health_output == "bad"
    assert found.created_at == datetime(2026, 11, 24, 10, 0, 0, 123456, UTC)
    assert found.finished_at is None
    assert found.networks["haloy"].ipv4 == "172.18.0.2"
    assert found.exposed_ports == (90, 8080)
    assert (found.tty, found.pid, found.restarts) == (True, 42, 3)


def test_bare_container() -> None:
    """A container that was created and never started has little to say."""
    found = container_from({"Id": "c", "Name": "x", "State": {}, "Config": {}})
    assert found.state is ContainerState.CREATED
    assert found.health is HealthState.NONE
    assert found.networks == {}
    assert found.started_at is None


def test_image_info_and_event() -> None:
    """Machine names are those of images."""
    image = image_from(
        {"Id": "sha256:1", "RepoTags": None, "RepoDigests": ["a@sha256:2"], "Size": 5}
    )
    assert (image.tags, image.digests, image.size_bytes) == ((), ("a@sha256:2",), 5)
    info = info_from({"Architecture": "aarch64", "OSType": "linux"})
    assert (info.architecture, info.image_dir) == ("arm64", "")
    for driver, image_dir in (
        (["Backing Filesystem", "extfs"], "/d"),
        (["driver-type", "io.containerd.snapshotter.v1"], ""),
    ):
        info = info_from({"DockerRootDir": "/d", "DriverStatus": [driver]})
        assert (info.root_dir, info.image_dir) == ("/d", image_dir)
    assert info_from({"DockerRootDir": "/d"}, here=False).image_dir == ""
    event = event_from(
        {
            "Action": "die",
            "Actor": {"ID": "c1", "Attributes": {"exitCode": "1"}},
            "timeNano": 1_000_000_000,
        }
    )
    assert (event.action, event.container_id) == ("die", "c1")
    assert event.at == datetime.fromtimestamp(1, UTC)
    moved = event_from(
        {
            "Type": "network",
            "Action": "disconnect",
            "Actor": {"ID": "n1", "Attributes": {"container": "c3", "name": "haloy"}},
            "time": 2,
        }
    )
    assert (moved.action, moved.container_id) == ("network-disconnect", "c3")
    assert (moved.is_network, event.is_network) == (True, False)
    old = event_from({"status": "start", "id": "c2", "time": 2})
    assert (old.action, old.container_id, old.at.timestamp()) == ("start", "c2", 2)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("", None),
        ("0001-01-01T00:00:00Z", None),
        ("2026-11-24T10:00:00Z", datetime(2026, 11, 24, 10, tzinfo=UTC)),
        ("2026-11-24T10:00:00.5Z", datetime(2026, 11, 24, 10, 0, 0, 500000, UTC)),
        (
            "2026-11-24T10:00:00.123456789+00:00",
            datetime(2026, 11, 24, 10, 0, 0, 123456, UTC),
        ),
    ],
)
def test_times(text: str | None, wanted: datetime | None) -> None:
    """Nanoseconds are cut, "never" is nothing."""
    assert parse_time(text) == wanted


def test_ports_without_any() -> None:
    """An image need not expose a port."""
    assert exposed_ports(None) == ()


def test_credentials() -> None:
    """Docker Hub has an address of its own."""
    hub = auth_config(Credentials("docker.io", "u", "p"))
    assert hub["serveraddress"] == "https://index.docker.io/v1/"
    own = auth_config(Credentials("ghcr.example", "u", "p"))
    assert own["serveraddress"] == "ghcr.example"
    assert (own["username"], own["password"]) == ("u", "p")
