"""A deployment that fails says why, with a code, and leaves what served serving."""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Server, build, identifier, load
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"


@pytest.mark.parametrize(
    ("before", "port", "values", "code", "words"),
    [
        (
            "exec tail /dev/zero",
            8080,
            {"resources": {"memory": "8MB"}},
            "oom",
            "memory",
        ),
        ("seq 100; exit 7", 8080, {}, "exited", "code 7"),
        (
            "",
            3000,
            {"healthCheckTimeout": "1s"},
            "port-mismatch",
            "3000, you said 8080",
        ),
        ("", 8080, {"healthCheckPath": "/no"}, "health-check", "/no answered 404"),
        ("", 8080, {"network": "haloytest-gone"}, "network", "network create"),
        ("", 8080, {"network": "none"}, "network", "none"),
        ("", 8080, {"network": "container:other"}, "network", "container"),
    ],
)
def test_reason(
    haloyd: Server,
    tmp_path: Path,
    before: str,
    port: int,
    values: dict[str, Any],
    code: str,
    words: str,
) -> None:
    """Code and words tell what to do; no request is lost, nothing new answers."""
    build(haloyd.docker, tmp_path, "app:bad", "bad", before, port)
    haloyd.deploy(identifier(0), "app:one")
    with load(haloyd, SHOP) as clients:
        end = haloyd.deploy(
            identifier(1), "app:bad", **{"healthCheckTimeout": "2s"} | values
        )
    assert (end["isDeploymentFailed"], end["fields"]["code"]) == (True, code)
    assert words in end["fields"]["error"]
    assert clients.failures == []
    assert set(clients.answers) == {"one"}
    haloyd.until_containers("shop", [f"shop-{identifier(0)}"])


def test_last_lines(haloyd: Server, tmp_path: Path) -> None:
    """The newest 50 lines of the container's output come with the failure."""
    build(haloyd.docker, tmp_path, "app:bad", "bad", "seq 100; exit 7")
    end = haloyd.deploy(identifier(0), "app:bad")
    shown = end["fields"]["logs"].split()
    assert shown == [str(number) for number in range(51, 101)]


def test_other_platform(haloyd: Server, tmp_path: Path) -> None:
    """An image for another kind of machine is refused, naming both."""
    archive = tmp_path / "image.tar"
    haloyd.docker.docker("save", "-o", str(archive), "app:one")
    _for_machine(archive, tmp_path / "unpacked", "arm64")
    haloyd.docker.docker("load", "-i", str(archive))
    end = haloyd.deploy(identifier(0), "app:foreign")
    assert end["fields"]["code"] == "platform"
    assert "arm64" in end["fields"]["error"]
    assert "amd64" in end["fields"]["error"]


def test_exposed_port(haloyd: Server, tmp_path: Path) -> None:
    """An image that exposes other ports than the target's says so before it starts."""
    (tmp_path / "Dockerfile").write_text("FROM app:one\nEXPOSE 9000\n")
    haloyd.docker.docker("build", "-q", "-t", "app:exposes", str(tmp_path))
    end = haloyd.deploy(identifier(0), "app:exposes")
    assert end["fields"]["code"] == "port-mismatch"
    assert "9000" in end["fields"]["error"]


def test_min_ready_seconds(haloyd: Server, tmp_path: Path) -> None:
    """What answers at first and ends within C{min_ready_seconds} never serves."""
    build(haloyd.docker, tmp_path, "app:short", "bad", "(sleep 2; kill $$) &")
    haloyd.deploy(identifier(0), "app:one")
    with load(haloyd, SHOP) as clients:
        end = haloyd.deploy(identifier(1), "app:short", minReadySeconds=4)
    assert end["fields"]["code"] == "exited"
    assert clients.failures == []
    assert set(clients.answers) == {"one"}


def test_healthcheck_of_the_image(haloyd: Server, tmp_path: Path) -> None:
    """Docker's HEALTHCHECK decides where there is one, also on a worker."""
    for name, command in (("good", "test -f /run.sh"), ("sick", "echo no; false")):
        folder = tmp_path / name
        folder.mkdir()
        check = f"HEALTHCHECK --interval=1s --retries=1 CMD {command}"
        (folder / "Dockerfile").write_text(f"FROM app:one\n{check}\n")
        haloyd.docker.docker("build", "-q", "-t", f"app:{name}", str(folder))
    assert haloyd.deploy(identifier(0), "app:good")["isDeploymentSuccess"]
    end = haloyd.deploy(identifier(1), "app:sick", healthCheckTimeout="3s")
    assert end["fields"]["code"] == "health-check"
    assert "HEALTHCHECK says unhealthy" in end["fields"]["error"]
    assert haloyd.get(SHOP) == (200, "one")


def test_healthcheck_counts_alone(haloyd: Server, tmp_path: Path) -> None:
    """No request of ours is made beside it, at a deployment or later; its end ejects.

    The app answers 404 where it would be asked, as one that speaks h2c would not
    answer at all.
    """
    check = "HEALTHCHECK --interval=1s --retries=1 CMD test ! -e /sick"
    (tmp_path / "Dockerfile").write_text(f"FROM app:one\n{check}\n")
    haloyd.docker.docker("build", "-q", "-t", "app:checked", str(tmp_path))
    end = haloyd.deploy(identifier(0), "app:checked", healthCheckPath="/no")
    assert end["isDeploymentSuccess"], end
    time.sleep(4)  # longer than two rounds, after which a replica is out
    assert haloyd.get(SHOP) == (200, "one")
    container = f"shop-{identifier(0)}"
    haloyd.docker.docker("exec", container, "touch", "/sick")
    wait_until(lambda: haloyd.get(SHOP)[0] == 503, haloyd.daemon.log_text)
    status, text = haloyd.daemon.api("GET", "/v1/status/shop")
    assert (status, "HEALTHCHECK says unhealthy" in text) == (200, True), text
    haloyd.docker.docker("exec", container, "rm", "/sick")
    haloyd.until_serves(SHOP, "one")


def test_network_of_its_own(haloyd: Server) -> None:
    """An app on another network is checked, routed and replaced there (D5)."""
    haloyd.docker.docker("network", "create", "haloytest-own")
    for number in range(2):
        image = ("app:one", "app:two")[number]
        end = haloyd.deploy(identifier(number), image, network="haloytest-own")
        assert end["isDeploymentSuccess"], end
    assert haloyd.get(SHOP) == (200, "two")
    haloyd.until_containers("shop", [f"shop-{identifier(1)}"])
    status, text = haloyd.daemon.api("GET", "/v1/status/shop")
    assert (status, "running" in text) == (200, True)


def test_network_that_is_not_reached(haloyd: Server) -> None:
    """As a macvlan is: an app that listens there fails, and is told why."""
    own = "haloytest-unreached"
    with haloyd.docker.unreached_subnet() as subnet:
        haloyd.docker.docker("network", "create", f"--subnet={subnet}", own)
        end = haloyd.deploy(
            identifier(0), "app:one", network=own, healthCheckTimeout="2s"
        )
    assert end["fields"]["code"] == "network", end
    assert "it listens on 8080, but nothing gets there" in end["fields"]["error"]
    assert haloyd.containers("shop") == []


def test_two_networks(haloyd: Server) -> None:
    """A container on a second network too goes on serving by Haloy's."""
    haloyd.deploy(identifier(0), "app:one")
    container = f"shop-{identifier(0)}"
    haloyd.docker.docker("network", "create", "aaa-second")
    haloyd.docker.docker("network", "connect", "aaa-second", container)
    haloyd.docker.docker("restart", "-t", "1", container)
    haloyd.until_serves(SHOP, "one")


def test_worker_without_network(haloyd: Server) -> None:
    """An app without domains may be on C{none}; it has to run, no more."""
    end = haloyd.deploy(
        identifier(0), "app:one", name="worker", domains=[], network="none"
    )
    assert end["isDeploymentSuccess"], end
    assert haloyd.containers("worker", running=True) == [f"worker-{identifier(0)}"]


def crash(haloyd: Server, container: str) -> None:
    """Let the app end by itself, and wait until it runs again."""

    def started() -> str:
        form = "{{.State.StartedAt}}"
        return haloyd.docker.docker("inspect", "--format", form, container)

    before = started()
    haloyd.docker.docker("exec", "-d", container, "kill", "1")
    wait_until(lambda: started() != before, haloyd.daemon.log_text, 60)


def test_crash_loop(haloyd: Server) -> None:
    """An app that ends again and again stays, is told, and serves when it is well."""
    haloyd.deploy(identifier(0), "app:one")
    container = f"shop-{identifier(0)}"
    (before,) = haloyd.docker.docker("ps", "-q").split()
    for _ in range(4):
        crash(haloyd, container)
        haloyd.until_serves(SHOP, "one", 60)
    assert haloyd.docker.docker("ps", "-q").split() == [before]
    status, text = haloyd.daemon.api("GET", "/v1/status/shop")
    assert status == 200
    assert json.loads(text)["deploymentId"] == identifier(0)


def _for_machine(archive: Path, folder: Path, architecture: str) -> None:
    """Make the image in C{archive} one of C{app:foreign} for another machine."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    (manifest,) = json.loads((folder / "manifest.json").read_text())
    config = json.loads((folder / manifest["Config"]).read_text())
    config["architecture"] = architecture
    text = json.dumps(config)
    name = f"{hashlib.sha256(text.encode()).hexdigest()}.json"
    (folder / name).write_text(text)
    manifest |= {"Config": name, "RepoTags": ["app:foreign"]}
    (folder / "manifest.json").write_text(json.dumps([manifest]))
    (folder / "repositories").unlink(missing_ok=True)
    with tarfile.open(archive, "w") as packed:
        for path in folder.iterdir():
            packed.add(path, path.name)
