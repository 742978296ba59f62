"""Whether a real dockerd is there, and names that no other run uses."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def require_docker() -> None:
    """Skip without a dockerd; fail in CI, where one must run."""
    asked = subprocess.run(
        ["docker", "info", "--format", "{{.ServerVersion}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode == 0:
        return
    reason = f"no dockerd answers: {asked.stderr.strip()}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def unique(what: str) -> str:
    """Return a name for a container, image or app of one test."""
    return f"haloytest-{what}-{secrets.token_hex(4)}"


def build_image(ref: str, folder: Path, cmd: str, expose: int | None = None) -> None:
    """Build a tiny image C{FROM scratch} with a static busybox that runs C{cmd}."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", folder / "busybox")
    lines = ["FROM scratch", "COPY busybox /bin/busybox"]
    lines += ['RUN ["/bin/busybox", "--install", "/bin"]']
    if expose is not None:
        lines.append(f"EXPOSE {expose}")
    lines.append(f'CMD ["/bin/sh", "-c", {_quoted(cmd)}]')
    (folder / "Dockerfile").write_text("\n".join(lines) + "\n")
    subprocess.run(
        ["docker", "build", "-q", "-t", ref, str(folder)],
        check=True,
        capture_output=True,
        env={**os.environ, "DOCKER_BUILDKIT": "0"},
    )


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@contextmanager
def cleaned(prefix: str) -> Iterator[None]:
    """Remove containers, images and networks whose names begin with C{prefix}."""
    try:
        yield
    finally:
        ids = _docker("ps", "-aq", "--filter", f"name=^/?{prefix}").split()
        if ids:
            _docker("rm", "-fv", *ids)
        refs = _docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        mine = [ref for ref in refs if ref.startswith(prefix)]
        if mine:
            _docker("rmi", "-f", *mine)
        for kind in ("network", "volume"):
            names = _docker(kind, "ls", "--format", "{{.Name}}").split()
            mine = [name for name in names if name.startswith(prefix)]
            if mine:
                _docker(kind, "rm", *mine)


def _docker(*arguments: str) -> str:
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout
