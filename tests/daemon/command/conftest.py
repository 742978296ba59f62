"""The C{haloyd} command in a process of its own: each runs a reactor of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.support.docker_api import DockerApi, docker_api

Done: TypeAlias = "subprocess.CompletedProcess[str]"
Haloyd: TypeAlias = Callable[..., Done]


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[DockerApi]:
    """Give a Docker that knows the networks it is asked to make."""
    with docker_api(tmp_path) as api:
        yield api


@pytest.fixture
def haloyd(tmp_path: Path) -> Haloyd:
    """Run the command with directories below C{tmp_path}, by environment."""

    def run(
        *arguments: str, docker: str = "unix:///nowhere.sock", stdout: str = ""
    ) -> Done:
        environment = {
            **os.environ,
            "HALOY_CONFIG_DIR": str(tmp_path / "config"),
            "HALOY_DATA_DIR": str(tmp_path / "data"),
            "DOCKER_HOST": docker,
        }
        environment.pop("HALOY_API_TOKEN", None)
        with Path(stdout or os.devnull).open("w") as out:
            return subprocess.run(
                [str(Path(sys.executable).with_name("haloyd")), *arguments],
                cwd=tmp_path,
                env=environment,
                stdout=out if stdout else subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
                timeout=60,
            )

    return run
