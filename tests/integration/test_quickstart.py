"""What README.md promises of C{./quickstart}, by running it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.docker import require_docker

ROOT = Path(__file__).parents[2]
NEEDED = ("quickstart", "scripts", "examples", "tests/support")
LIMIT_S = 240

pytestmark = [pytest.mark.docker, pytest.mark.acme, pytest.mark.slow]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Return a copy of what C{./quickstart} needs, and stop it in the end."""
    require_docker()
    if _docker("ps", "-aq", "--filter", "label=dev.haloy.appName=hello"):
        pytest.skip("a quickstart runs on this machine, and there can be only one")
    for name in NEEDED:
        source, copy = ROOT / name, tmp_path / name
        copy.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copy(source, copy)
    yield tmp_path
    _quickstart(tmp_path, "--stop")


def test_it_deploys_twice_and_takes_everything_away(checkout: Path) -> None:
    """HTTPS that verifies, no failed request in two runs, and nothing left behind."""
    before = _traces()
    for _ in range(2):
        told = _quickstart(checkout)
        assert "Hello from version 1, replica" in told
        assert "issuer=CN = Pebble" in told
        assert "DNS:hello.localhost, DNS:www.hello.localhost" in told
        assert " requests meanwhile, 0 failed;" in told
        assert "answers were '2', the first" in told
        assert "✔ version 1 serves again" in told
    assert _docker("ps", "-q", "--filter", "label=dev.haloy.appName=hello")
    told = _quickstart(checkout, "--stop")
    assert "⚠" not in told
    assert not (checkout / ".quickstart").exists()
    assert _traces() == before


def _traces() -> dict[str, list[str]]:
    """Return the names of what a quickstart makes in Docker."""
    return {
        kind: sorted(_docker(*command).split())
        for kind, command in {
            "containers": ("ps", "-aq", "--filter", "label=dev.haloy.appName=hello"),
            "images": ("images", "-q", "hello"),
            "networks": ("network", "ls", "-q", "--filter", "name=^haloy$"),
        }.items()
    }


def _quickstart(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["./quickstart", *arguments],
        cwd=checkout,
        # HALOY_VENV: this run's own packages, so that nothing is installed.
        env={**os.environ, "HALOY_VENV": sys.prefix, "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True)
    return done.stdout
