"""The disk on which Docker itself keeps images and containers is full."""

from __future__ import annotations

import re
import secrets
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Server, build, identifier, load, server
from tests.integration.test_images import Shelf, told
from tests.support.disks import filled, small_disk
from tests.support.dockerd import PrivateDocker, private_dockerd
from tests.support.registry import private_registry, write_login

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
LAYER_BYTES, LEFT_BYTES = 24 << 20, 8 << 20


def push_large(docker: PrivateDocker, shelf: Shelf, tag: str, content: bytes) -> None:
    """Let the registry have an image larger than what will be free."""
    folder = shelf.folder / tag
    folder.mkdir()
    (folder / "content").write_bytes(content)
    (folder / "Dockerfile").write_text("FROM app:two\nCOPY content /content\n")
    docker.docker("build", "-q", "-t", f"app:{tag}", str(folder))
    shelf.push(f"app:{tag}", tag)
    docker.docker("rmi", f"app:{tag}")
    shutil.rmtree(folder)


def everything(docker: PrivateDocker) -> list[set[str]]:
    """Return all images by all their names, containers, networks and volumes."""
    return [
        set(docker.docker(*what).splitlines())
        for what in (
            ("images", "-a", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"),
            ("ps", "-a", "--format", "{{.ID}} {{.Names}} {{.State}}"),
            ("network", "ls", "-q"),
            ("volume", "ls", "-q"),
        )
    ]


def assert_full(end: dict[str, Any], disk: Path) -> None:
    """Check that a deployment failed for want of room, and says where."""
    assert end["fields"]["code"] == "insufficient-storage", end
    assert str(disk) in end["fields"]["error"], end


def test_dockers_disk_is_full(tmp_path: Path) -> None:
    """Before a pull, in it and before a container: told by name; nothing else goes.

    The old version serves on. When there is room again, the same deployment works.
    """
    with (
        small_disk(tmp_path / "docker", "256m") as disk,
        private_dockerd(disk / "own") as docker,
        private_registry(tmp_path / "registry", docker.address) as address,
    ):
        for version in ("one", "two"):
            build(docker, tmp_path, f"app:{version}", version)
        docker.docker("tag", "app:one", "somebody:else")
        docker.docker("run", "-d", "--name", "others", "app:one", "sleep", "1000")
        shelf = Shelf(address, docker, tmp_path / "registry")
        write_login(shelf.folder / "client", address)
        push_large(docker, shelf, "large", secrets.token_bytes(LAYER_BYTES))
        push_large(docker, shelf, "zeros", bytes(LAYER_BYTES))
        with server(tmp_path, docker) as haloyd:
            haloyd.deploy(identifier(0), "app:one")
            with load(haloyd, SHOP) as clients:
                refuses(haloyd, shelf, disk)
                assert set(clients.answers) == {"one"}
                end = haloyd.deploy(identifier(3), "", source=shelf.source(tag="large"))
                assert end.get("isDeploymentSuccess"), end
            assert clients.failures == []
            assert haloyd.get(SHOP) == (200, "two")


def refuses(haloyd: Server, shelf: Shelf, disk: Path) -> None:
    """Fail to deploy: a pull cannot fit, fills the disk, and then nothing is free."""
    before = everything(haloyd.docker)
    with filled(disk, LEFT_BYTES):
        end = haloyd.deploy(identifier(1), "", source=shelf.source(tag="large"))
        log = told(haloyd, identifier(1))
    assert end["fields"]["code"] == "insufficient-storage", end
    # Of the 8 MiB that are left dockerd's own files take some.
    why = r"needs at least 24\.0 MiB more, [5-7]\.\d MiB are free"
    assert re.search(why, end["fields"]["error"]), end
    assert "Docker's disk has 8 MiB left" in log, log
    assert everything(haloyd.docker) == before
    # Small on its way, so that Docker alone finds out.
    with filled(disk, LEFT_BYTES):
        end = haloyd.deploy(identifier(4), "", source=shelf.source(tag="zeros"))
    assert end["fields"]["code"] == "insufficient-storage", end
    assert "no space left" in end["fields"]["error"], end
    assert everything(haloyd.docker) == before
    with filled(disk):
        end = haloyd.deploy(identifier(2), "app:two")
    assert_full(end, disk)
    assert everything(haloyd.docker) == before
