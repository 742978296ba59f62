"""The example app of the quickstart: valid, small, and well behaved."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from haloy.config.load import load_app_document
from tests.support.docker import cleaned, require_docker, unique
from tests.support.waiting import get_when_up

EXAMPLE = Path(__file__).parents[2] / "examples" / "hello"


def test_its_haloy_yaml_is_valid() -> None:
    """Two replicas, a domain with an alias, a version from the environment."""
    (target,) = load_app_document(EXAMPLE).targets().values()
    assert (target.name, target.replicas, target.port) == ("hello", 2, "8080")
    assert target.health_check_path == "/health"
    assert target.domains is not None
    assert target.domains[0].domain == "hello.localhost"
    assert target.domains[0].aliases == ("www.hello.localhost",)


@pytest.mark.docker
def test_it_serves_its_version_and_ends_when_asked_to(tmp_path: Path) -> None:
    """It answers on / and /health and exits with 0 on SIGTERM, long before a kill."""
    require_docker()
    name = unique("hello")
    context = tmp_path / "hello"
    shutil.copytree(EXAMPLE, context)
    shutil.copy(shutil.which("busybox") or "busybox", context / "busybox")
    with cleaned(name):
        _docker("build", "-q", "-t", name, "--build-arg", "VERSION=7", str(context))
        _docker("run", "-d", "--name", name, "-e", "HALOY_REPLICA_ID=2", name)
        site = f"http://{_state(name)['NetworkSettings']['IPAddress']}:8080"
        assert get_when_up(f"{site}/health") == "ok\n"
        assert get_when_up(f"{site}/version") == "7\n"
        assert "version 7, replica 2 (" in get_when_up(f"{site}/")
        _docker("stop", "--time", "20", name)
        assert _state(name)["State"]["ExitCode"] == 0


def _docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _state(name: str) -> dict[str, dict[str, str | int]]:
    (state,) = json.loads(_docker("inspect", name))
    found: dict[str, dict[str, str | int]] = state
    return found
