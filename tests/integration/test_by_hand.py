"""Somebody does things to an app's containers, network or image beside haloyd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.integration.conftest import IMAGES, make_network
from tests.integration.site import Server, build, identifier, load, server
from tests.support.dockerd import PrivateDocker
from tests.support.forwarder import forwarder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
STATIC = {"namingStrategy": "static", "deploymentStrategy": "replace"}


def container(number: int) -> str:
    return f"shop-{identifier(number)}"


def test_taken_off_its_network(haloyd: Server) -> None:
    """The container is put on it again as it runs: it answered 503 for ever."""
    haloyd.deploy(identifier(0), "app:one")
    docker = haloyd.docker.docker
    before = docker("ps", "-q", "--no-trunc")
    docker("network", "disconnect", "-f", "haloy", container(0))
    took_s = haloyd.until_serves(SHOP, "one")
    print(f"served again after {took_s:.1f} s")
    assert docker("ps", "-q", "--no-trunc") == before


@pytest.fixture
def network_of_its_own(docker: PrivateDocker) -> Iterator[None]:
    """Make the network anew after the test, as the other tests have it."""
    yield
    docker.clear(IMAGES)
    docker.docker("network", "rm", "haloy")
    make_network(docker)


@pytest.mark.usefixtures("network_of_its_own")
def test_a_prune_while_the_app_is_down(haloyd: Server) -> None:
    """The network is made again and the same container started on it.

    Docker refers to it by its id and does not start what was on one that is gone.
    """
    haloyd.deploy(identifier(0), "app:one")
    docker = haloyd.docker.docker
    before = docker("ps", "-q", "--no-trunc")
    haloyd.daemon.stop()
    docker("stop", "-t", "0", container(0))
    assert "haloy" in docker("network", "prune", "-f").split()
    haloyd.daemon.start()
    haloyd.until_serves(SHOP, "one")
    assert docker("ps", "-q", "--no-trunc") == before
    haloyd.deploy(identifier(1), "app:two")
    haloyd.until_containers("shop", [container(1)])


def test_paused(haloyd: Server) -> None:
    """An old version that is paused is no obstacle, for a deployment or a stop."""
    haloyd.deploy(identifier(0), "app:one")
    haloyd.docker.docker("pause", container(0))
    end = haloyd.deploy(identifier(1), "app:two", deploymentStrategy="replace")
    assert end.get("isDeploymentSuccess"), end
    haloyd.until_containers("shop", [container(1)])
    haloyd.docker.docker("pause", container(1))
    status, text = haloyd.daemon.api("POST", "/v1/stop/shop?remove-containers=true")
    assert status == 202, text
    wait_until(lambda: haloyd.containers("shop") == [], haloyd.daemon.log_text)


def test_renamed(haloyd: Server) -> None:
    """What is ours is known by its labels and its id, whatever it is called."""
    haloyd.deploy(identifier(0), "app:one", **STATIC)
    haloyd.docker.docker("rename", "shop", "mine")
    with load(haloyd, SHOP) as clients:
        end = haloyd.deploy(identifier(1), "app:two", **STATIC)
        assert end.get("isDeploymentSuccess"), end
        haloyd.until_containers("shop", ["shop"])
    assert clients.failures == []


def test_its_own_network_is_removed(haloyd: Server) -> None:
    """Nothing serves, and status says why; a deployment to another network does."""
    docker = haloyd.docker.docker
    docker("network", "create", "haloytest-gone")
    haloyd.deploy(identifier(0), "app:one", network="haloytest-gone")
    assert haloyd.get(SHOP) == (200, "one")

    def removed() -> bool:
        # haloyd puts the container on it again, if it is quicker.
        with suppress(AssertionError):
            docker("network", "disconnect", "-f", "haloytest-gone", container(0))
            docker("network", "rm", "haloytest-gone")
            return True
        return False

    wait_until(removed, haloyd.daemon.log_text)
    wait_until(lambda: haloyd.get(SHOP)[0] == 503, haloyd.daemon.log_text)
    status, text = haloyd.daemon.api("GET", "/v1/status/shop")
    assert (status, "it is on no network" in text) == (200, True), text
    assert haloyd.deploy(identifier(1), "app:two").get("isDeploymentSuccess")
    assert haloyd.get(SHOP) == (200, "two")
    haloyd.until_containers("shop", [container(1)])


@pytest.mark.parametrize("strategy", ["rolling", "replace"])
def test_the_old_version_is_removed(haloyd: Server, strategy: str) -> None:
    """In the middle of a deployment: there is less to do, and it succeeds."""
    haloyd.deploy(identifier(0), "app:one")
    haloyd.submit(
        identifier(1), "app:two", deploymentStrategy=strategy, minReadySeconds=1
    )
    wait_until(
        lambda: haloyd.state("shop", identifier(1)) == "checking",
        haloyd.daemon.log_text,
    )
    haloyd.docker.docker("rm", "-f", container(0))
    end = haloyd.end_of(identifier(1))
    assert end.get("isDeploymentSuccess"), end
    haloyd.until_containers("shop", [container(1)])
    assert haloyd.get(SHOP) == (200, "two")


def test_the_image_is_removed(tmp_path: Path, docker: PrivateDocker) -> None:
    """After it was found, before a container is made of it: told by name, no harm."""

    def remove(call: str, answered: bool) -> bool:
        if call == "POST /containers/create" and not answered:
            image = docker.docker("images", "-q", "app:gone")
            docker.docker("rmi", "-f", *image.split())
        return True

    try:
        with (
            forwarder(docker.host) as way,
            server(tmp_path, docker, way.host) as haloyd,
        ):
            haloyd.deploy(identifier(0), "app:one")
            build(docker, tmp_path, "app:gone", "gone")
            way.watch = remove
            with load(haloyd, SHOP) as clients:
                end = haloyd.deploy(identifier(1), "app:gone")
            assert end["isDeploymentFailed"], end
            assert "image" in end["fields"]["error"].lower(), end
            assert clients.failures == []
            haloyd.until_containers("shop", [container(0)])
    finally:
        docker.clear(IMAGES)
