"""A server that the Go daemon has run: its data directory, its containers."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.integration.site import Server, identifier, load, write_certificate
from tests.store.test_takeover import GO_SCHEMA
from tests.support.dockerd import PrivateDocker
from tests.support.haloyd import RunningDaemon, running_daemon

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"


def go_directory(folder: Path, docker: PrivateDocker) -> None:
    """Make what the Go daemon leaves: database, certificates, logins, containers."""
    write_certificate(folder / "data" / "cert-storage", "*.example.test")
    config = {
        "name": "shop",
        "server": "localhost",
        "image": {
            "repository": "shop",
            "history": {"strategy": "local", "count": 3},
        },
        "domains": [{"domain": SHOP}],
        "healthCheckPath": "/version",
        "port": "8080",
        "replicas": 2,
    }
    place = folder / "data" / "db" / "haloy.db"
    place.parent.mkdir(parents=True, mode=0o700)
    with sqlite3.connect(place) as database:
        database.executescript(GO_SCHEMA)
        for number, version in enumerate(("one", "two")):
            tag = identifier(number)
            docker.docker("tag", f"app:{version}", f"shop:{tag}")
            database.execute(
                "INSERT INTO deployments "
                "(id, app_name, raw_deploy_config, deployed_image) VALUES (?, ?, ?, ?)",
                (
                    tag,
                    "shop",
                    json.dumps(config).encode(),
                    json.dumps({"repository": "shop", "tag": tag}).encode(),
                ),
            )
    (folder / "data" / "registries.yaml").write_text(
        "registries:\n  ghcr.example:\n    server: ghcr.example\n"
        "    username: {value: me}\n    password: {value: hush}\n"
    )
    labels = {
        "appName": "shop",
        "deployment-id": identifier(1),
        "domain.0": SHOP,
        "port": "8080",
        "health-check-path": "/version",
    }
    for replica in (1, 2):
        docker.docker(
            *("run", "-d", "--network", "haloy", "--restart", "unless-stopped"),
            *("--name", f"shop-{identifier(1)}-r{replica}"),
            *(f"--label=dev.haloy.{key}={value}" for key, value in labels.items()),
            f"shop:{identifier(1)}",
        )


def test_go_directory(tmp_path: Path, docker: PrivateDocker) -> None:
    """Apps serve on, its history can be gone back to, deploys replace its containers.

    Its certificates are used and its logins listed; a second start changes nothing.
    """
    go_directory(tmp_path, docker)
    before = docker.docker("ps", "-q", "--no-trunc").split()
    try:
        with running_daemon(tmp_path, docker.environment) as daemon:
            haloyd = Server(daemon, docker)
            haloyd.until_serves(SHOP, "two")
            daemon.stop()
            daemon.start()
            haloyd.until_serves(SHOP, "two")
            assert docker.docker("ps", "-q", "--no-trunc").split() == before
            assert "ghcr.example" in daemon.api("GET", "/v1/registries")[1]
            go_back(haloyd, daemon)
            kept = sorted(
                docker.docker("images", "shop", "--format", "{{.Tag}}").split()
            )
            assert identifier(1) in kept
            assert haloyd.deploy(identifier(3), "app:two")["isDeploymentSuccess"]
            haloyd.until_containers("shop", [f"shop-{identifier(3)}"])
    finally:
        docker.clear(("app:one", "app:two"))
        shutil.rmtree(tmp_path / "data")


def go_back(haloyd: Server, daemon: RunningDaemon) -> None:
    """Roll back to what the Go daemon deployed before, under load."""
    status, text = daemon.api("GET", "/v1/rollback/shop")
    (target,) = json.loads(text)["targets"]
    assert (status, target["DeploymentID"]) == (200, identifier(0))
    with load(haloyd, SHOP) as clients:
        status, text = daemon.api(
            "POST",
            "/v1/rollback",
            {
                "targetDeploymentID": identifier(0),
                "newDeploymentID": identifier(2),
                "newTargetConfig": target["RawDeployConfig"],
            },
        )
        assert status == 202, text
        end = haloyd.end_of(identifier(2))
    assert end.get("isDeploymentSuccess"), end
    assert clients.failures == []
    assert haloyd.get(SHOP) == (200, "one")
    haloyd.until_containers("shop", [f"shop-{identifier(2)}-r{n}" for n in (1, 2)])
