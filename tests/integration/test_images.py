"""Images from a registry: logins, policies, pulls that break, uploads that stay."""

from __future__ import annotations

import os
import re
import secrets
import socket
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import define

from tests.integration.site import Server, build, identifier
from tests.support.carrier import Carrier
from tests.support.dockerd import PrivateDocker
from tests.support.haloyd import TOKEN
from tests.support.registry import private_registry, write_login

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
LAYER_MIB = 60
#: How long a pull takes; C{HALOY_TEST_PULL_S=130} is longer than HEAD's limit for all.
PULL_S = float(os.environ.get("HALOY_TEST_PULL_S", "4"))
LOGIN = {"username": {"value": "me"}, "password": {"value": "secret"}}


@define(eq=False)
class Shelf:
    """A registry, and how images get there."""

    address: str
    docker: PrivateDocker
    folder: Path

    @property
    def repository(self) -> str:
        return f"{self.address}/people/shop"

    def blobs(self) -> list[Path]:
        """Return the files in which it keeps layers and what describes them."""
        return list((self.folder / "docker/registry/v2/blobs").rglob("data"))

    def push(self, image: str, tag: str = "latest") -> None:
        """Let the registry have C{image} as C{tag}, and nobody else."""
        ref = f"{self.repository}:{tag}"
        self.docker.docker("tag", image, ref)
        self.docker.docker("--config", str(self.folder / "client"), "push", ref)
        self.docker.docker("rmi", ref)

    def source(self, **values: Any) -> dict[str, Any]:
        """Return the image entry of a target."""
        login = {"server": self.address, **LOGIN}
        wanted = {"repository": self.repository, "tag": "latest", "registry": login}
        return wanted | {"pullPolicy": "always"} | values


@pytest.fixture
def shelf(haloyd: Server, tmp_path: Path) -> Iterator[Shelf]:
    """Give a registry with C{app:one}."""
    folder = tmp_path / "registry"
    with private_registry(folder, haloyd.docker.address) as address:
        write_login(folder / "client", address)
        made = Shelf(address, haloyd.docker, folder)
        made.push("app:one")
        yield made


def told(haloyd: Server, deployment: str) -> str:
    """Return all of a deployment's log."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{haloyd.daemon.api_port}/v1/deploy/{deployment}/logs",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    with urllib.request.urlopen(request, timeout=30) as stream:
        text: str = stream.read().decode()
        return text


def log_in(haloyd: Server, shelf: Shelf) -> None:
    """Let the server itself have a login at the registry."""
    login = {"server": shelf.address, "username": "me", "password": "secret"}
    status, text = haloyd.daemon.api("POST", "/v1/registries/login", login)
    assert status == 200, text


def test_policies(haloyd: Server, shelf: Shelf) -> None:
    """C{always} takes what is newer, C{if_missing} and C{never} what is here."""
    end = haloyd.deploy(identifier(0), "", source=shelf.source())
    assert end.get("isDeploymentSuccess"), end
    assert haloyd.get(SHOP) == (200, "one")
    assert "Pulling image" in told(haloyd, identifier(0))
    here = f"{shelf.repository}:latest"
    shelf.push("app:two")
    haloyd.docker.docker("tag", "app:one", here)
    for number, policy in ((1, "if_missing"), (2, "never")):
        source = shelf.source(pullPolicy=policy)
        assert haloyd.deploy(identifier(number), "", source=source)[
            "isDeploymentSuccess"
        ]
        assert haloyd.get(SHOP) == (200, "one")
    assert haloyd.deploy(identifier(3), "", source=shelf.source())[
        "isDeploymentSuccess"
    ]
    assert haloyd.get(SHOP) == (200, "two")
    # Nothing is pulled that is here already.
    assert haloyd.deploy(identifier(4), "", source=shelf.source())[
        "isDeploymentSuccess"
    ]
    assert "Pulling image" not in told(haloyd, identifier(4))


def test_logins(haloyd: Server, shelf: Shelf) -> None:
    """A wrong one is told as such, and never shown; the server's own is used."""
    wrong = {"username": {"value": "me"}, "password": {"value": "not-the-one"}}
    source = shelf.source(registry={"server": shelf.address, **wrong})
    end = haloyd.deploy(identifier(0), "", source=source)
    assert end["fields"]["code"] == "bad-credentials", end
    assert "not-the-one" not in told(haloyd, identifier(0)) + haloyd.daemon.log_text()
    anonymous = {**shelf.source(), "registry": None}
    end = haloyd.deploy(identifier(1), "", source=anonymous)
    assert end["fields"]["code"] == "bad-credentials", end
    log_in(haloyd, shelf)
    end = haloyd.deploy(identifier(2), "", source=anonymous)
    assert end.get("isDeploymentSuccess"), end


def test_image_that_the_registry_lacks(haloyd: Server, shelf: Shelf) -> None:
    """Told by name."""
    end = haloyd.deploy(identifier(0), "", source=shelf.source(tag="other"))
    assert end["fields"]["code"] == "image-not-found", end
    assert f"{shelf.repository}:other" in end["fields"]["error"]


def test_pull_that_breaks(haloyd: Server, shelf: Shelf) -> None:
    """An error inside the pull stream is the deployment's, in its words (D13)."""
    before = set(shelf.blobs())
    build(haloyd.docker, shelf.folder, "app:fresh", "fresh", "true")
    shelf.push("app:fresh")
    haloyd.docker.docker("rmi", "app:fresh")
    for blob in set(shelf.blobs()) - before:
        content = bytearray(blob.read_bytes())
        if content.startswith(b"\x1f\x8b"):  # a layer
            content[len(content) // 2] ^= 0xFF
            blob.write_bytes(content)
    end = haloyd.deploy(identifier(0), "", source=shelf.source())
    assert end["fields"]["code"] == "pull", end
    assert haloyd.containers("shop") == []


def test_upload_is_never_replaced(haloyd: Server, shelf: Shelf) -> None:
    """D10: an image that was built and sent is not looked for in a registry."""
    log_in(haloyd, shelf)
    shelf.push("app:two")
    haloyd.docker.docker("tag", "app:one", f"{shelf.repository}:latest")
    log = shelf.folder / "registry.log"
    before = log.read_text().count("people/shop")
    built = shelf.source(build=True, registry=None)
    end = haloyd.deploy(identifier(0), "", source=built)
    assert end.get("isDeploymentSuccess"), end
    assert haloyd.get(SHOP) == (200, "one")
    assert log.read_text().count("people/shop") == before


@define(eq=False)
class SlowWay(Carrier):
    """Leads to a host and port, at so many bytes a second on the way back, or there."""

    to: tuple[str, int]
    bytes_a_second: float
    is_slow_there: bool = False

    def start(self) -> str:
        """Return the address that leads there."""
        listening = socket.create_server((self.to[0], 0))
        self.listen(listening)
        return f"{self.to[0]}:{listening.getsockname()[1]}"

    def reach(self) -> socket.socket:
        return socket.create_connection(self.to)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        there_s, back_s = 0.0, 1 / self.bytes_a_second
        if self.is_slow_there:
            there_s, back_s = back_s, there_s
        self.run(self._carry, near, far, there_s)
        self.run(self._carry, far, near, back_s)

    def _carry(self, source: socket.socket, to: socket.socket, wait_s: float) -> None:
        with suppress(OSError):
            while piece := source.recv(65536):
                to.sendall(piece)
                time.sleep(wait_s * len(piece))
            to.shutdown(socket.SHUT_WR)


@pytest.mark.slow
def test_progress_of_a_large_pull(haloyd: Server, shelf: Shelf) -> None:
    """D13: the log tells how far it is, and bytes that come are no reason to end it."""
    folder = shelf.folder / "large"
    folder.mkdir()
    (folder / "noise").write_bytes(secrets.token_bytes(LAYER_MIB << 20))
    (folder / "Dockerfile").write_text("FROM app:one\nCOPY noise /noise\n")
    haloyd.docker.docker("build", "-q", "-t", "app:large", str(folder))
    shelf.push("app:large")
    haloyd.docker.docker("rmi", "app:large")
    host, _, port = shelf.address.rpartition(":")
    way = SlowWay((host, int(port)), (LAYER_MIB << 20) / PULL_S)
    far = Shelf(way.start(), haloyd.docker, shelf.folder)
    try:
        began = time.monotonic()
        haloyd.submit(identifier(0), "", source=far.source())
        end = haloyd.end_of(identifier(0), PULL_S + 90)
        took_s = time.monotonic() - began
    finally:
        way.stop()
    assert end.get("isDeploymentSuccess"), end
    assert took_s > PULL_S
    steps = re.findall(r"Pulled (\d+) of (\d+) MiB", told(haloyd, identifier(0)))
    print(f"{took_s:.0f} s, told {len(steps)} times: {steps}")
    done = [int(one) for one, _ in steps]
    assert len(done) >= 3
    assert done == sorted(done)
    assert all(int(whole) >= LAYER_MIB - 1 for _, whole in steps)
    assert haloyd.get(SHOP) == (200, "one")
