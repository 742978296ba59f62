"""C{haloyd verify} says of every check whether it passes, and what to do if not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.daemon.command.conftest import Haloyd
from tests.support.docker_api import DockerApi


def _checks(text: str) -> dict[str, dict[str, Any]]:
    report = json.loads(text)
    assert report["ok"] is all(not one["problem"] for one in report["checks"])
    return {one["name"].partition(" /")[0]: one for one in report["checks"]}


def test_a_server_that_is_not_set_up(haloyd: Haloyd) -> None:
    """Every check fails with a next step, and so does the command."""
    done = haloyd("verify", "--json")
    assert done.returncode == 1
    checks = _checks(done.stdout)
    assert checks["configuration directory"]["next_step"] == "run `haloyd init`"
    assert checks["data directory"]["problem"] == "does not exist"
    assert "haloyd init" in checks["API token"]["next_step"]
    assert "DOCKER_HOST" in checks["Docker"]["next_step"]


def test_after_init_only_the_daemon_is_missing(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """Directories, files, token, Docker and network are right; the API is not up."""
    haloyd("init", docker=docker.host)
    (tmp_path / "config" / "haloyd.yaml").write_text("api: {listen: '127.0.0.1:1'}\n")
    done = haloyd("verify", "--json", docker=docker.host)
    wrong = [one for one in _checks(done.stdout).values() if one["problem"]]
    assert [one["name"] for one in wrong] == ["API at 127.0.0.1:1"]
    assert wrong[0]["next_step"] == "start the daemon and read its log"
    assert done.returncode == 1


def test_a_missing_network_is_found(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """Docker answers but knows no network C{haloy}."""
    haloyd("init", docker=docker.host)
    docker.networks.clear()
    done = haloyd("verify", "--json", docker=docker.host)
    assert _checks(done.stdout)["network haloy"]["next_step"] == "run `haloyd init`"


def test_a_data_directory_that_others_may_read(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """The mode is named, and how to set it."""
    haloyd("init", docker=docker.host)
    (tmp_path / "data").chmod(0o755)
    done = haloyd("verify", docker=docker.host)
    assert "has mode 0755, wanted 0700" in done.stdout
    assert f"chmod 700 {tmp_path / 'data'}" in done.stdout
    assert done.returncode == 1


def test_a_mistake_in_the_configuration_has_file_and_line(
    haloyd: Haloyd, docker: DockerApi, tmp_path: Path
) -> None:
    """D23: a typing error is not passed over in silence."""
    haloyd("init", docker=docker.host)
    file = tmp_path / "config" / "haloyd.yaml"
    file.write_text("api:\n  domian: api.example.com\n")
    done = haloyd("verify", docker=docker.host)
    assert f"{file}:2" in done.stdout
    assert "domain" in done.stdout
    assert done.returncode == 1
