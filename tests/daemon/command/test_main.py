"""The `haloyd` command, on a real dockerd."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.docker import require_docker

pytestmark = pytest.mark.docker


def haloyd(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "haloy.daemon.command.main", *arguments],
        cwd=folder,
        env={
            **{k: v for k, v in os.environ.items() if k != "HALOY_API_TOKEN"},
            "HALOY_CONFIG_DIR": str(folder / "config"),
            "HALOY_DATA_DIR": str(folder / "data"),
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_init_then_verify(tmp_path: Path) -> None:
    """Init shows the token and the next command; verify finds what is missing."""
    require_docker()
    made = haloyd(tmp_path, "init", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    assert len(told["apiToken"]) == 64
    again = haloyd(tmp_path, "init")
    assert (again.returncode, "--override" in again.stderr) == (1, True)
    found = haloyd(tmp_path, "verify", "--json")
    checks = {one["name"]: one for one in json.loads(found.stdout)["checks"]}
    failed = [name for name, one in checks.items() if one["problem"]]
    assert failed == ["API at 127.0.0.1:9922"] or not failed
    assert any(name.startswith("Docker 2") for name in checks)


def test_verify_without_a_server(tmp_path: Path) -> None:
    """Every check has its next step; exit code 1."""
    require_docker()
    found = haloyd(tmp_path, "verify")
    assert found.returncode == 1
    assert "haloyd init" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


def test_version_and_help(tmp_path: Path) -> None:
    """Both forms."""
    told = json.loads(haloyd(tmp_path, "version", "--json").stdout)
    assert told["version"] == haloyd(tmp_path, "version").stdout.strip()
    assert "init" in haloyd(tmp_path, "--help").stdout


def test_bad_domain_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """Validate before acting."""
    refused = haloyd(tmp_path, "init", "--api-domain", "not a domain")
    assert refused.returncode == 1
    assert "--api-domain" in refused.stderr
    assert not (tmp_path / "config").exists()


def test_without_docker(tmp_path: Path) -> None:
    """Docker's absence is named, and nothing is made."""
    done = subprocess.run(
        [sys.executable, "-m", "haloy.daemon.command.main", "init"],
        env={
            **os.environ,
            "DOCKER_HOST": f"unix://{tmp_path}/none.sock",
            "HALOY_CONFIG_DIR": str(tmp_path / "config"),
            "HALOY_DATA_DIR": str(tmp_path / "data"),
        },
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1
    assert "Docker does not answer" in done.stderr
    assert not (tmp_path / "data").exists()
