"""Deploying on a real Docker: nothing is lost, and a reason is given for failures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.site import Server, body, build, identifier, load

pytestmark = pytest.mark.docker

SITE = "shop.example.test"


def test_failure_has_a_reason(haloyd: Server, tmp_path: Path) -> None:
    """Exit code and last lines are on the screen; the old version serves on."""
    build(haloyd.docker, tmp_path, "app:exits", "bad", "echo no database; exit 3")
    haloyd.deploy(identifier(0), "app:one")
    with load(haloyd, SITE) as clients:
        end = haloyd.deploy(identifier(1), "app:exits")
    assert end["isDeploymentFailed"]
    assert end["fields"]["code"] == "exited"
    assert "code 3" in end["fields"]["error"]
    assert "no database" in end["fields"]["logs"]
    assert clients.failures == []
    assert set(clients.answers) == {"one"}
    haloyd.until_containers("shop", [f"shop-{identifier(0)}"])


def test_wrong_port(haloyd: Server, tmp_path: Path) -> None:
    """The port that the app really listens on is named."""
    build(haloyd.docker, tmp_path, "app:port", "bad", port=3000)
    end = haloyd.deploy(identifier(0), "app:port", healthCheckTimeout="2s")
    assert end["fields"]["code"] == "port-mismatch"
    assert "3000" in end["fields"]["error"]
    assert haloyd.containers("shop") == []


def test_image_that_is_not_there(haloyd: Server) -> None:
    """An image that was never uploaded fails at once, by name."""
    end = haloyd.deploy(identifier(0), "app:never")
    assert end["fields"]["code"] == "image-not-found"
    assert "app:never" in end["fields"]["error"]


def test_rolling_order(haloyd: Server) -> None:
    """New 1 starts, old 1 stops, new 2 starts …: by Docker's own events."""
    haloyd.deploy(identifier(0), "app:one", replicas=3)
    since = haloyd.docker.docker("info", "--format", "{{.SystemTime}}")
    haloyd.deploy(identifier(1), "app:two", replicas=3)
    until = haloyd.docker.docker("info", "--format", "{{.SystemTime}}")
    events = haloyd.docker.docker(
        "events", "--since", since, "--until", until, "--format", "{{json .}}"
    )
    seen = [
        (event["Action"], event["Actor"]["Attributes"]["name"].rpartition("-")[2])
        for event in map(json.loads, events.splitlines())
        if event.get("Type") == "container" and event["Action"] in {"start", "die"}
    ]
    assert seen[:5] == [
        ("start", "r1"),
        ("die", "r1"),
        ("start", "r2"),
        ("die", "r2"),
        ("start", "r3"),
    ]


def test_replace_that_fails(haloyd: Server, tmp_path: Path) -> None:
    """The old version is started again under its name, and serves."""
    build(haloyd.docker, tmp_path, "app:exits", "bad", "exit 3")
    values = {"deploymentStrategy": "replace", "namingStrategy": "static"}
    haloyd.deploy(identifier(0), "app:one", **values)
    end = haloyd.deploy(identifier(1), "app:exits", **values)
    assert end["fields"]["code"] == "exited"
    haloyd.until_serves(SITE, "one")
    haloyd.until_containers("shop", ["shop"])


def test_crash_is_no_failed_deployment(haloyd: Server) -> None:
    """A killed, restarted or removed replica comes back and is routed (D3, E3)."""
    haloyd.deploy(identifier(0), "app:one")
    name = f"shop-{identifier(0)}"
    haloyd.docker.docker("kill", name)
    haloyd.until_serves(SITE, "one")
    haloyd.docker.docker("restart", "-t", "1", name)
    haloyd.until_serves(SITE, "one")
    haloyd.docker.docker("rm", "-f", name)
    haloyd.until_serves(SITE, "one")
    haloyd.until_containers("shop", [name])


def test_manual_container(haloyd: Server) -> None:
    """It is routed by its labels, and a deploy of its name is refused (D18, D29)."""
    labels = {
        "appName": "shop",
        "deployment-id": "manual-001",
        "domain.0": SITE,
        "health-check-path": "/version",
    }
    options = [f"--label=dev.haloy.{key}={value}" for key, value in labels.items()]
    haloyd.docker.docker(
        "run", "-d", "--name", "by-hand", "--network", "haloy", *options, "app:one"
    )
    haloyd.until_serves(SITE, "one")
    status, text = haloyd.daemon.api(
        "POST", "/v1/deploy", body(identifier(0), "app:two")
    )
    assert (status, "by-hand" in text) == (409, True)
    assert haloyd.containers("shop", running=True) == ["by-hand"]


def test_rollback_is_fast(haloyd: Server) -> None:
    """Going back to a kept image under load loses nothing."""
    haloyd.deploy(identifier(0), "app:one")
    haloyd.deploy(identifier(1), "app:two")
    status, text = haloyd.daemon.api("GET", "/v1/rollback/shop")
    (target,) = json.loads(text)["targets"]
    assert (status, target["DeploymentID"]) == (200, identifier(0))
    with load(haloyd, SITE) as clients:
        status, text = haloyd.daemon.api(
            "POST",
            "/v1/rollback",
            {
                "targetDeploymentID": identifier(0),
                "newDeploymentID": identifier(2),
                "newTargetConfig": target["RawDeployConfig"],
            },
        )
        assert status == 202, text
        assert haloyd.end_of(identifier(2)).get("isDeploymentSuccess")
    assert clients.failures == []
    assert haloyd.get(SITE) == (200, "one")


PRESETS = """server: 127.0.0.1:{port}
image: {{repository: app, tag: {tag}, pull_policy: never}}
targets:
  store:
    preset: database
    volumes: ["haloytest-store:/kept"]
  bus:
    preset: service
    domains: [{{domain: bus.example.test}}]
    health_check_path: /version
"""


def test_presets(haloyd: Server, tmp_path: Path) -> None:
    """A container of the app's own name, replaced; `--all` leaves a database alone.

    The database's volume is kept; the service is routed, and requests wait for it.
    """
    for tag in ("one", "two"):
        config = PRESETS.format(port=haloyd.daemon.api_port, tag=tag)
        (tmp_path / "haloy.yaml").write_text(config)
        done = haloyd.daemon.haloy("deploy", "--all", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert haloyd.containers("store") == (["store"] if tag == "two" else [])
        done = haloyd.daemon.haloy("deploy", "-t", "store", cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        for name in ("store", "bus"):
            haloyd.until_containers(name, [name])
            assert f"VERSION={tag}" in haloyd.docker.docker("exec", name, "env")
        assert haloyd.get("bus.example.test") == (200, tag)
        haloyd.docker.docker("exec", "store", "touch", f"/kept/{tag}")
    kept = haloyd.docker.docker("exec", "store", "ls", "/kept").split()
    assert kept == ["one", "two"]
