"""A Docker of the tests' own, with two versions of one app, and a haloyd on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.command import Command
from tests.integration.site import Server, build, server
from tests.support.dockerd import PrivateDocker, private_dockerd

#: What every test may use, and none may change.
IMAGES = ("app:one", "app:two")


def make_network(docker: PrivateDocker) -> None:
    """Make it as init does, with room for hundreds of containers."""
    subnet = f"--subnet={docker.large_subnet}"
    docker.docker("network", "create", "--attachable", subnet, "haloy")


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDocker]:
    """Give a dockerd with the images C{app:one} and C{app:two}."""
    folder = tmp_path_factory.mktemp("docker")
    with private_dockerd(folder) as made:
        for ref in IMAGES:
            build(made, folder, ref, ref.partition(":")[2])
        make_network(made)
        yield made


@pytest.fixture
def haloyd(tmp_path: Path, docker: PrivateDocker) -> Iterator[Server]:
    """Give a haloyd; all but the two images is as before at the end."""
    try:
        # Sick and healthy again are seen within seconds, not in a minute.
        health = {"interval": "1s", "timeout": "1s", "fall": 2, "rise": 1}
        with server(tmp_path, docker, health_monitor=health) as made:
            yield made
    finally:
        docker.clear(IMAGES)


@pytest.fixture
def haloy(haloyd: Server, tmp_path: Path) -> Command:
    """Give the command, in a folder for the daemon."""
    folder = tmp_path / "project"
    folder.mkdir()
    return Command(folder, haloyd)
