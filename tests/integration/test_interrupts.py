"""Ctrl+C in a terminal during a build or an upload: nothing is left behind."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
from pathlib import Path

import pytest

from tests.integration.site import Server
from tests.integration.test_images import SlowWay
from tests.integration.test_upload import API, CONFIG, site
from tests.support.haloyd import TOKEN
from tests.support.tty import INTERRUPT, Tty
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

__all__ = ["site"]  # a fixture is found by its name here

LARGE_BYTES = 24 << 20
#: So slowly that a deployment lasts half a minute.
BYTES_A_SECOND = 800_000.0
BUILD = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sleep", "100"]
"""


def terminal(site: tuple[Server, Path, str], *arguments: str) -> Tty:
    """Begin the command in a terminal, with a folder of its own for what is passing."""
    haloyd, project, _ = site
    passing = project / "tmp"
    passing.mkdir(exist_ok=True)
    variables = {
        **os.environ,
        "HALOY_CONFIG_DIR": str(haloyd.daemon.folder / "client"),
        "HALOY_API_TOKEN": TOKEN,
        "DOCKER_BUILDKIT": "0",
        "TMPDIR": str(passing),
    }
    return Tty(project, variables, *arguments, columns=120)


def session(leader: int) -> list[str]:
    """Return the commands that still run in a terminal's session."""
    asked = ["ps", "-o", "stat=,args=", "-s", str(leader)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if not line.startswith("Z")]


def interrupted(tty: Tty) -> str:
    """Press Ctrl+C once; return what is on the screen when all has ended."""
    tty.press(INTERRUPT)
    assert tty.end() == 130, tty.shown()
    assert session(tty.pid) == []
    return tty.shown()


def local_image(ref: str) -> str:
    asked = ["docker", "images", "-q", ref]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout


def test_while_it_builds(site: tuple[Server, Path, str]) -> None:
    """Docker stops too; that it failed because of it is not told as an error."""
    haloyd, project, ref = site
    (project / "Dockerfile").write_text(BUILD)
    with terminal(site, "deploy") as tty:
        tty.until("Running in")
        shown = interrupted(tty)
    assert "✖" not in shown
    assert local_image(ref) == ""
    assert list((project / "tmp").iterdir()) == []
    assert haloyd.containers("shop") == []
    status = haloyd.daemon.haloy("status", cwd=project)
    assert "not deployed" in status.stderr


def test_while_it_uploads(site: tuple[Server, Path, str]) -> None:
    """Neither side keeps half an image, and the next deployment works."""
    haloyd, project, ref = site
    (project / "version").write_bytes(secrets.token_bytes(LARGE_BYTES))
    way = SlowWay(("127.0.0.1", haloyd.daemon.https_port), BYTES_A_SECOND, True)
    name = f"{API}:{way.start().rpartition(':')[2]}"
    try:
        ca = str(haloyd.daemon.folder / "ca.pem")
        added = haloyd.daemon.haloy("server", "add", name, TOKEN, "--ca-file", ca)
        assert added.returncode == 0, added.stderr
        (project / "haloy.yaml").write_text(CONFIG.format(server=name, ref=ref))
        with terminal(site, "deploy") as tty:
            tty.until("Sending")
            wait_until(lambda: tty.looks(r"\b[1-9][.0-9]*/\d+\.\d MiB"), tty.shown)
            shown = interrupted(tty)
    finally:
        way.stop()
    assert "✖" not in shown
    assert list((project / "tmp").iterdir()) == []
    spool = haloyd.daemon.data / "tmp"
    wait_until(lambda: not list(spool.glob("haloy-*")), haloyd.daemon.log_text)
    assert haloyd.docker.docker("images", "-q", ref) == ""
    assert haloyd.containers("shop") == []

    # Built again under the same name it would stay without one.
    subprocess.run(["docker", "rmi", ref], check=True, capture_output=True)
    (project / "version").write_text("one")
    direct = f"{API}:{haloyd.daemon.https_port}"
    (project / "haloy.yaml").write_text(CONFIG.format(server=direct, ref=ref))
    done = haloyd.daemon.haloy("deploy", cwd=project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search("Sending", done.stdout)
