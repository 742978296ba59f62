"""A Docker of the tests' own, with two versions of one app, and a haloyd on it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
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


def build_images(docker: PrivateDocker, folder: Path) -> None:
    """Build C{IMAGES}; each answers with its tag."""
    for ref in IMAGES:
        build(docker, folder, ref, ref.partition(":")[2])


@contextmanager
def haloyd_on(
    folder: Path, docker: PrivateDocker, networks: Collection[str] = ()
) -> Iterator[Server]:
    """Run a haloyd; in the end C{docker} has C{IMAGES} and C{networks} alone."""
    try:
        # Sick and healthy again are seen within seconds, not in a minute.
        health = {"interval": "1s", "timeout": "1s", "fall": 2, "rise": 1}
        with server(folder, docker, health_monitor=health) as made:
            yield made
    finally:
        docker.clear(IMAGES, networks=networks)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDocker]:
    """Give a dockerd with the images C{app:one} and C{app:two}."""
    folder = tmp_path_factory.mktemp("docker")
    with private_dockerd(folder) as made:
        build_images(made, folder)
        make_network(made)
        yield made


@pytest.fixture
def haloyd(tmp_path: Path, docker: PrivateDocker) -> Iterator[Server]:
    """Give a haloyd; all but the two images is as before at the end."""
    with haloyd_on(tmp_path, docker) as made:
        yield made


@pytest.fixture
def haloy(haloyd: Server, tmp_path: Path) -> Command:
    """Give the command, in a folder for the daemon."""
    folder = tmp_path / "project"
    folder.mkdir()
    return Command(folder, haloyd)
