"""A Docker newer than the machine's, and what only that one can: IPv6 alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import build_images, haloyd_on
from tests.integration.site import Server, build, identifier, load
from tests.support.dockerd import PrivateDocker, private_dockerd
from tests.support.tools import NEWER_DOCKERD

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
NETWORK = "six"


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDocker]:
    """Give a dockerd with a network that has no IPv4.

    In CI too a skip without it: what Debian's next release has, may not run here.
    """
    if not NEWER_DOCKERD.exists():
        pytest.skip("needs a newer dockerd; ./test fetches it")
    folder = tmp_path_factory.mktemp("newer")
    with private_dockerd(folder, str(NEWER_DOCKERD)) as made:
        build_images(made, folder)
        subnet = f"--subnet={made.reach_by_ipv6()}"
        made.docker("network", "create", "--ipv4=false", "--ipv6", subnet, NETWORK)
        yield made


@pytest.fixture
def haloyd(tmp_path: Path, newer: PrivateDocker) -> Iterator[Server]:
    """Give a haloyd on it; all but images and network is as before at the end."""
    with haloyd_on(tmp_path, newer, networks=(NETWORK,)) as made:
        yield made


def addresses(haloyd: Server, container: str) -> tuple[str, str]:
    """Return a container's IPv4 and IPv6 address on the network."""
    (found,) = json.loads(haloyd.docker.docker("inspect", container))
    there = found["NetworkSettings"]["Networks"][NETWORK]
    return there["IPAddress"], there["GlobalIPv6Address"]


@pytest.mark.parametrize("strategy", ["rolling", "replace"])
def test_ipv6_alone(haloyd: Server, strategy: str) -> None:
    """It is checked, routed and replaced by its IPv6 address; no request is lost."""
    values = {"network": NETWORK, "replicas": 2, "deploymentStrategy": strategy}
    end = haloyd.deploy(identifier(0), "app:one", **values)
    assert end.get("isDeploymentSuccess"), end
    first, second = (f"shop-{identifier(0)}-r{number}" for number in (1, 2))
    for name in (first, second):
        ipv4, ipv6 = addresses(haloyd, name)
        assert (ipv4, ipv6[:2]) == ("", "fd")
    with load(haloyd, SHOP) as clients:
        end = haloyd.deploy(identifier(1), "app:two", **values)
    assert end.get("isDeploymentSuccess"), end
    assert clients.failures == []
    assert set(clients.answers) <= {"one", "two"}
    assert haloyd.get(SHOP) == (200, "two")
    haloyd.until_containers(
        "shop", [f"shop-{identifier(1)}-r{number}" for number in (1, 2)]
    )


def test_ipv6_alone_after_a_death(haloyd: Server) -> None:
    """A replica that is killed is started again and routed, by a new haloyd too."""
    haloyd.deploy(identifier(0), "app:one", network=NETWORK)
    name = f"shop-{identifier(0)}"
    haloyd.docker.docker("kill", name)
    haloyd.until_serves(SHOP, "one")
    haloyd.daemon.kill()
    haloyd.docker.docker("restart", "-t", "1", name)
    haloyd.daemon.start()
    haloyd.until_serves(SHOP, "one")
    assert haloyd.containers("shop", running=True) == [name]


def test_ipv6_alone_and_the_wrong_port(haloyd: Server, tmp_path: Path) -> None:
    """What the app really listens on is seen there, too."""
    build(haloyd.docker, tmp_path, "app:bad", "bad", port=3000)
    end = haloyd.deploy(
        identifier(0), "app:bad", network=NETWORK, healthCheckTimeout="2s"
    )
    assert end["fields"]["code"] == "port-mismatch", end
    assert "3000, you said 8080" in end["fields"]["error"]
    assert haloyd.containers("shop") == []
