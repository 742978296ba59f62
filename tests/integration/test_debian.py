r"""install.sh on a Debian that has nothing but what debootstrap makes.

By hand, since it needs Debian's mirror, and wheels of all that Haloy needs::

    debootstrap --variant=minbase bookworm ROOT \
        --include=systemd,dbus,python3,python3-venv,ca-certificates,procps
    pip wheel --wheel-dir WHEELS .
    export HALOY_TEST_DEBIAN=ROOT HALOY_TEST_WHEELS=WHEELS
    ./test tests/integration/test_debian.py

ROOT is read through an overlay and stays as it is.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.test_installed import ROOT, capabilities, status_of, verified
from tests.support.dockerd import PrivateDocker
from tests.support.machine import machine

DEBIAN = os.environ.get("HALOY_TEST_DEBIAN", "")
WHEELS = os.environ.get("HALOY_TEST_WHEELS", "")

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(not (DEBIAN and WHEELS), reason="is run by hand"),
]


def test_from_nothing(tmp_path: Path, docker: PrivateDocker) -> None:
    """Installed with all its packages, started, installed again, removed."""
    (wheel,) = Path(WHEELS).glob("haloy-*.whl")
    client = shutil.which("docker")
    assert client is not None
    binds = {
        Path(docker.host.removeprefix("unix://")): "/run/docker.sock",
        Path(client): "/usr/local/bin/docker",
        Path(WHEELS): "/opt/wheels",
        ROOT / "install.sh": "/opt/source/install.sh",
        ROOT / "systemd": "/opt/source/systemd",
    }
    install = (
        *("sh", "/opt/source/install.sh", "--wheel", f"/opt/wheels/{wheel.name}"),
        *("--find-links", "/opt/wheels"),
    )
    with machine(tmp_path / "machine", binds, base=Path(DEBIAN)) as server:
        # As Docker's package has it: a group that may use the socket.
        server.told("groupadd", "--system", "docker")
        server.told("chgrp", "docker", "/run/docker.sock")
        assert "API token:" in server.told(*install)
        assert all(verified(server).values())
        assert status_of(server, 80) == 404
        assert capabilities(server, "haloyd") == 0
        assert "kept" in server.told(*install)
        assert all(verified(server).values())
        server.told("haloyd", "uninstall", "--yes")
        assert server.run("test", "-e", "/opt/haloy").returncode == 1
        assert "haloyd.yaml" in server.told("ls", "/etc/haloy")
