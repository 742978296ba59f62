"""Images go from one Docker to another: built here, sent to a server, run there."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.site import Server, server, write_certificate
from tests.support.docker import cleaned, require_docker, unique
from tests.support.dockerd import private_dockerd
from tests.support.haloyd import TOKEN

pytestmark = pytest.mark.docker

API = "api.haloyupload.localhost"
APP = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "/bin"]
COPY version /www/version
CMD ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]
"""
CONFIG = """name: shop
server: {server}
image:
  repository: {ref}
  build: true
domains: [{{domain: shop.example.test}}]
port: 8080
health_check_path: /version
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Server, Path, str]]:
    """Yield a server with a Docker of its own, a project, and the image's name."""
    require_docker()
    ref = unique("upload")
    write_certificate(tmp_path / "data" / "certs", API)
    pem = tmp_path / "data" / "certs" / f"{API}.pem"
    with (
        cleaned(ref),
        private_dockerd(tmp_path / "docker") as docker,
        server(tmp_path, docker, api={"domain": API}) as made,
    ):
        name = f"{API}:{made.daemon.https_port}"
        shutil.copy(pem, tmp_path / "ca.pem")
        added = made.daemon.haloy(
            "server", "add", name, TOKEN, "--ca-file", str(tmp_path / "ca.pem")
        )
        assert added.returncode == 0, added.stderr
        project = tmp_path / "project"
        project.mkdir()
        shutil.copy("/bin/busybox", project / "busybox")
        (project / "Dockerfile").write_text(APP)
        (project / "haloy.yaml").write_text(CONFIG.format(server=name, ref=ref))
        yield made, project, ref


def test_only_what_is_missing_is_sent(site: tuple[Server, Path, str]) -> None:
    """The first time all layers, then the changed one, then none (CLI 9.25)."""
    haloyd, project, ref = site
    said = []
    for version in ("one", "two", "two"):
        (project / "version").write_text(version)
        done = haloyd.daemon.haloy("deploy", cwd=project)
        assert done.returncode == 0, done.stdout + done.stderr
        assert haloyd.until_serves("shop.example.test", version) < 10
        said.append(done.stdout)
    assert re.search(r"Sending .* MiB, 0 of 3 layers are there", said[0])
    assert re.search(r"Sending .* KiB, 2 of 3 layers are there", said[1])
    assert re.search(r": 3 of 3 layers are there", said[2])
    assert f"Sending {ref}" not in said[2]
    # It came by the upload: the server's Docker is another one.
    assert haloyd.docker.docker("image", "inspect", "-f", "{{.Id}}", ref) == (
        subprocess.run(
            ["docker", "image", "inspect", "-f", "{{.Id}}", ref],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
    )  # fmt: skip
    left = [path.name for path in (haloyd.daemon.data / "tmp").glob("haloy-*")]
    assert left == []
