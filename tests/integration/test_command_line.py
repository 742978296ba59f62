"""Every command against a real daemon and a real Docker, in one life of an app."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.integration.command import SITE, Command, running
from tests.integration.site import Server
from tests.support.haloyd import TOKEN
from tests.support.ports import free_port
from tests.support.printed import check_printed

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def test_the_life_of_an_app(haloy: Command, haloyd: Server) -> None:
    """Deployed, looked at, used, changed, brought back, stopped: by commands alone."""
    haloy.configure()
    plan = haloy("deploy", "--dry-run")
    assert "runs nowhere yet" in plan
    assert haloyd.containers("shop") == []
    told = haloy("deploy")
    assert f"→ https://{SITE}" in told.splitlines()[-1]
    haloyd.until_serves(SITE, "one")

    (status,) = haloy.json("status")
    (first,) = status["replicas"]
    assert (status["state"], first["health"]["verdict"]) == ("running", "healthy")
    assert "1/1" in haloy("apps", "--server", haloy.server)
    assert "shop" in haloy("status", "-s", haloy.server, "--app", "shop")

    assert haloy("exec", "--", "/bin/cat", "/www/version") == "one\n"
    assert haloy("exec", "--", "/bin/sh", "-c", "exit 7", code=7) == ""
    haloy("exec", "--", "/bin/sh", "-c", "echo said > /proc/1/fd/1")
    assert "said" in haloy("logs", "--no-follow", "--all-containers", "--grep", "said")
    assert haloy("logs", "--no-follow", "--tail", "0") == ""
    assert (
        haloy("logs", "--no-follow", "--raw", "--since", "2099-01-01T00:00:00Z") == ""
    )

    change(haloy, haloyd)
    come_back(haloy, haloyd, status["deploymentId"])

    assert "no image to remove" in haloy("prune-images") or "dry-run" in haloy(
        "prune-images", "--keep", "0"
    )
    haloy("stop", "--remove-containers")
    haloyd.until_containers("shop", [])
    assert "not deployed" in haloy("status", code=1)


def change(haloy: Command, haloyd: Server) -> None:
    """Another version with two replicas; the plan says so, a tunnel leads to it."""
    haloy.configure(replicas=2)
    plan = haloy("deploy", "--dry-run", "--tag", "two")
    assert "    ~ replicas: 1 -> 2" in plan.splitlines(), plan
    haloy("deploy", "--tag", "two")
    haloyd.until_serves(SITE, "two")
    lines = haloy("status").splitlines()
    assert sum("two" not in line and "running" in line for line in lines) >= 2
    port = free_port()
    with running(haloy, "tunnel", str(port)) as tunnel:
        assert tunnel.stdout is not None
        assert f"localhost:{port} leads to shop" in tunnel.stdout.readline()
        for _ in range(3):
            url = f"http://localhost:{port}/version"
            with urllib.request.urlopen(url, timeout=20) as answer:
                assert answer.read() == b"two\n"


def come_back(haloy: Command, haloyd: Server, first: str) -> None:
    """Deployments are listed and compared, and the one before serves again."""
    (told,) = haloy.json("deployments")
    newest, older = told["deployments"]
    assert (older["deploymentId"], newest["state"]) == (first, "live")
    found = haloy.json("diff")
    assert found["before"] == first
    assert {"key": "replicas", "before": "1", "after": "2"} in found["changes"]
    assert first in haloy("rollback-targets")
    told = haloy("rollback", "--yes")
    assert f"goes back to {first}" in told
    haloyd.until_serves(SITE, "one")


def test_a_failed_deployment(haloy: Command, haloyd: Server) -> None:
    """CLI section 9, point 1: exit code 6, the reason once, the old one serves."""
    haloy.configure()
    haloy("deploy", "--quiet")
    haloy.configure(
        health_check_path="/nothing",
        health_check_timeout="2s",
        post_deploy=["touch after"],
    )
    told = haloy("deploy", code=6)
    assert "✖ " in told
    assert "404" in told
    assert not (haloy.folder / "after").exists()
    assert haloyd.get(SITE) == (200, "one")
    (report,) = json.loads(
        haloy("deploy", "--json", code=6).partition("\n]\n")[0] + "]"
    )
    assert (report["ok"], report["code"]) == (False, "deploy-failed")


def test_the_server_itself(haloy: Command) -> None:
    """Versions, log, tokens and the doctor, without a haloy.yaml."""
    where = ("--server", haloy.server)
    assert "haloyd" in haloy("server", "version", *where)
    with running(haloy, "server", "logs", *where) as log:
        assert log.stdout is not None
        assert log.stdout.readline().startswith("●")
    with running(haloy, "server", "logs", "--json", *where) as log:
        assert log.stdout is not None
        check_printed(("server", "logs", "--json"), log.stdout.readline())
    token = haloy("tokens", "create", "ci", "--scope", "read", *where).strip()
    assert "ci" in haloy("tokens", "list", *where)
    haloy.environment["HALOY_API_TOKEN"] = token
    haloy.configure()
    assert "✖" in haloy("deploy", code=4)
    haloy("tokens", "list", *where, code=4)
    haloy.environment["HALOY_API_TOKEN"] = TOKEN
    haloy("tokens", "revoke", "ci", *where)
    told = {one["check"]: one for one in haloy.json("doctor", *where)["checks"]}
    assert told["server's docker"]["state"] == "ok"
    assert told["token"]["state"] == "ok"
