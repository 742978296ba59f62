"""Pebble for the tests that want a real CA: one for all of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pebble import Pebble, running_pebble

NEWER = "v2.10.1"


@pytest.fixture(scope="session")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Run a CA with 20 % of nonces rejected, strict, no authorization used again."""
    need_pebble()
    with running_pebble(folder(tmp_path_factory)) as running:
        yield running


@pytest.fixture(scope="session")
def newer_pebble() -> Path:
    """Return a pebble that knows renewal windows and profiles; Debian's does not."""
    need_pebble()
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    place = cache / "haloy-tests" / f"pebble-{NEWER}"
    if not (place / "pebble").exists():
        problem = _go_install(place)
        if problem and os.environ.get("CI"):
            pytest.fail(problem)
        if problem:
            pytest.skip(problem)
    return place / "pebble"


def _go_install(place: Path) -> str:
    """Build it; return why that was not possible, C{""}: it was."""
    go = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if go is None:
        return f"needs pebble {NEWER}, and Go to build it, which is not installed"
    module = f"github.com/letsencrypt/pebble/v2/cmd/pebble@{NEWER}"
    try:
        subprocess.run(
            [go, "install", module],
            env={**os.environ, "GOBIN": str(place)},
            capture_output=True,
            check=True,
            text=True,
            timeout=600,
        )
    except (subprocess.SubprocessError, OSError) as problem:
        said = getattr(problem, "stderr", "")
        return f"needs pebble {NEWER}: {problem} {said}"
    return ""


def need_pebble() -> None:
    if shutil.which("pebble") is None or shutil.which("pebble-challtestsrv") is None:
        pytest.skip("pebble is not installed")


def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pebble")
