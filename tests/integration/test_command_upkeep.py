"""The commands that keep a server in order, each against a real daemon and Docker.

Those of an app's own life are in C{test_command_line}.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.certs.conftest import need_pebble
from tests.integration.command import SITE, Command
from tests.integration.site import Server, server, write_certificate
from tests.integration.test_certificates import (
    NAME,
    authority,
    served,
    site,
    until_from,
)
from tests.support.dockerd import PrivateDocker
from tests.support.registry import private_registry, write_login
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def tags(haloyd: Server) -> set[str]:
    """Return the names by which the images of deployments are kept."""
    return {*haloyd.docker.docker("images", "shop", "--format", "{{.Tag}}").split()}


def volumes(haloyd: Server) -> list[str]:
    return haloyd.docker.docker("volume", "ls", "-q").split()


def test_old_images_go(haloy: Command, haloyd: Server) -> None:
    """None by looking; with --yes those beyond --keep, and never what runs."""
    for tag in ("one", "two", "one"):
        haloy.configure()
        haloy("deploy", "--quiet", "--tag", tag)
    before = tags(haloyd)
    assert len(before) == 3
    (told,) = haloy.json("prune-images", "--keep", "1")
    going = {one["tag"].rpartition(":")[2] for one in told["tags"]}
    assert (told["applied"], tags(haloyd)) == (False, before)
    assert len(going) == 2, told
    (told,) = haloy.json("prune-images", "--keep", "1", "--yes")
    assert told["applied"] is True
    assert tags(haloyd) == before - going == {*told["runningDeploymentIds"]}
    assert haloyd.get(SITE) == (200, "one")
    assert "no image to remove" in haloy("prune-images", "--keep", "1", "--yes")


def test_a_deployment_that_waits_is_taken_back(haloy: Command, haloyd: Server) -> None:
    """Only that one; what is under way goes on to its end."""
    haloy.configure()
    haloy("deploy", "--quiet")
    haloy.configure(health_check_path="/nothing", health_check_timeout="20s")
    haloy("deploy", "--no-logs", "--quiet")
    haloy.configure()
    (sent,) = haloy.json("deploy", "--no-logs", "--tag", "two")
    waiting = sent["deploymentId"]

    def states() -> dict[str, tuple[str, str]]:
        (told,) = haloy.json("deployments")
        return {
            one["deploymentId"]: (one["state"], one.get("failure", ""))
            for one in told["deployments"]
        }

    assert states()[waiting] == ("queued", "")
    assert haloy.json("cancel", waiting)["cancelled"] is True
    assert states()[waiting] == ("superseded", "cancelled")
    assert "✖" in haloy("cancel", waiting, code=1)
    wait_until(
        lambda: "failed" in {state for state, _ in states().values()},
        haloyd.daemon.log_text,
        60.0,
    )
    assert haloyd.get(SITE) == (200, "one")


def test_volumes_go_only_when_that_is_said(haloy: Command, haloyd: Server) -> None:
    """Not by stopping, not by a question that nobody answers; another's never."""
    haloyd.docker.docker("volume", "create", "somebody-else")
    haloy.configure(volumes=["shop-data:/data"])
    haloy("deploy", "--quiet")
    both = {"shop-data", "somebody-else"}
    assert both <= {*volumes(haloyd)}
    haloy("stop", "--remove-containers")
    haloyd.until_containers("shop", [])
    haloy("stop", "--remove-containers", "--remove-volumes", code=2)
    assert both <= {*volumes(haloyd)}
    haloy("deploy", "--quiet")
    (told,) = haloy.json("stop", "--remove-containers", "--remove-volumes", "--yes")
    assert told["ok"] is True
    haloyd.until_containers("shop", [])
    wait_until(lambda: "shop-data" not in volumes(haloyd), haloyd.daemon.log_text)
    assert "somebody-else" in volumes(haloyd)


def test_logins_at_a_registry(haloy: Command, haloyd: Server, tmp_path: Path) -> None:
    """Tried before they are kept; what is pulled by one is not after it is gone."""
    where = ("--server", haloy.server)
    with private_registry(tmp_path / "registry", haloyd.docker.address) as address:
        write_login(tmp_path / "pusher", address)
        ref = f"{address}/people/shop:latest"
        haloyd.docker.docker("tag", "app:one", ref)
        haloyd.docker.docker("--config", str(tmp_path / "pusher"), "push", ref)
        haloyd.docker.docker("rmi", ref)
        haloy.configure(image={"repository": ref.rpartition(":")[0], "tag": "latest"})

        login = ("server", "registry", "login", address, "-u", "me", "-p")
        assert "refused the login" in haloy(*login, "wrong", *where, code=3)
        assert haloy.json("server", "registry", "list", *where)[0]["registries"] == []
        haloy("deploy", "--quiet", code=6)
        haloy(*login, "secret", *where)
        (told,) = haloy.json("server", "registry", "list", *where)
        assert told["registries"] == [{"server": address, "username": "me"}]
        haloy("deploy", "--quiet")
        assert haloyd.get(SITE) == (200, "one")

        haloy("server", "registry", "logout", address, *where)
        assert haloy.json("server", "registry", "list", *where)[0]["registries"] == []
        haloyd.docker.docker("rmi", "-f", ref)
        haloy("deploy", "--quiet", code=6)
        assert haloyd.get(SITE) == (200, "one")


def test_a_token_for_one_app(haloy: Command) -> None:
    """It deploys that one and no other; the trail says who did what."""
    where = ("--server", haloy.server)
    made = haloy.json(
        *("tokens", "create", "ci", "--scope", "deploy", "--app", "shop", *where)
    )
    everything = haloy.environment["HALOY_API_TOKEN"]
    haloy.environment["HALOY_API_TOKEN"] = made["token"]
    haloy.configure(name="other", domains=[{"domain": "other.example.test"}])
    assert "✖" in haloy("deploy", code=4)
    haloy.configure()
    haloy("deploy", "--quiet")
    haloy("tokens", "audit", *where, code=4)
    haloy.environment["HALOY_API_TOKEN"] = everything
    (listed,) = haloy.json("tokens", "list", *where)
    assert (listed["name"], listed["apps"]) == ("ci", ["shop"])
    assert listed["lastUsedAt"]
    done = {
        (one["token"], one["action"], one["subject"])
        for one in haloy.json("tokens", "audit", *where)
    }
    assert {who for who, _, _ in done} >= {"env", "ci"}
    assert any(who == "ci" and "shop" in subject for who, _, subject in done), done
    haloy("tokens", "revoke", "ci", *where)
    haloy.environment["HALOY_API_TOKEN"] = made["token"]
    assert "authentication failed" in haloy("status", code=4)


@pytest.mark.acme
def test_certificates(docker: PrivateDocker, tmp_path: Path) -> None:
    """Ordered, shown, ordered again, and replaced by one's own; each is served."""
    need_pebble()
    with (
        authority(tmp_path, dict(os.environ)) as pebble,
        site(tmp_path, pebble) as daemon,
    ):
        folder = tmp_path / "project"
        folder.mkdir()
        haloy = Command(folder, Server(daemon, docker))
        where = ("--server", haloy.server)
        first = until_from(daemon, pebble)
        (listed,) = haloy.json("certs", "list", *where)
        assert (listed["name"], listed["state"]) == (NAME, "valid")
        assert "Pebble" in haloy("certs", "show", NAME, *where)
        assert "✖" in haloy("certs", "show", "nobody.example.com", *where, code=1)

        renewed = haloy.json("certs", "renew", NAME, *where)
        assert renewed["fingerprint"] != listed["fingerprint"]
        second = served(daemon)
        assert second.serial_number != first.serial_number

        write_certificate(tmp_path / "own", NAME)
        own = tmp_path / "own" / f"{NAME}.pem"
        told = haloy("certs", "import", NAME, str(own), *where)
        assert f"{NAME} is served until" in told
        wait_until(lambda: served(daemon).issuer != second.issuer, daemon.log_text)


def test_two_servers(
    haloy: Command, haloyd: Server, docker: PrivateDocker, tmp_path: Path
) -> None:
    """One call deploys to both; where one fails the other is deployed all the same."""
    with server(tmp_path / "second", docker) as second:
        places = {"east": haloyd, "west": second}
        targets: dict[str, Any] = {
            name: {
                "name": name,
                "server": f"localhost:{one.daemon.api_port}",
                "domains": [{"domain": f"{name}.example.test"}],
            }
            for name, one in places.items()
        }
        haloy.configure(targets=targets)
        told = haloy.json("deploy", "--all")
        assert {one["target"]: one["ok"] for one in told} == {
            "east": True,
            "west": True,
        }
        for name, one in places.items():
            assert one.get(f"{name}.example.test") == (200, "one")
        servers = {one["server"] for one in haloy.json("status", "--all")}
        assert servers == {one["server"] for one in targets.values()}

        targets["west"] |= {"health_check_path": "/no", "health_check_timeout": "2s"}
        haloy.configure(targets=targets)
        told_all = haloy("deploy", "--all", "--tag", "two", code=7)
        assert "1 of 2 targets failed" in told_all
        assert haloyd.get("east.example.test") == (200, "two")
        assert second.get("west.example.test") == (200, "one")
