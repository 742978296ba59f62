r"""install.sh on a Debian that has nothing but what debootstrap makes.

By hand, since it needs Debian's mirror, and wheels of all that Haloy needs::

    debootstrap --variant=minbase bookworm ROOT \
        --include=systemd,dbus,python3,python3-venv,ca-certificates,procps
    pip wheel --wheel-dir WHEELS . setuptools mypy
    export HALOY_TEST_DEBIAN=ROOT HALOY_TEST_WHEELS=WHEELS
    ./test tests/integration/test_debian.py

ROOT is read through an overlay and stays as it is. For the compiled form it also has
gcc, libc6-dev and python3-dev.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.integration.test_installed import capabilities, status_of, verified
from tests.support.checkout import ROOT
from tests.support.dockerd import PrivateDocker
from tests.support.machine import machine

DEBIAN = os.environ.get("HALOY_TEST_DEBIAN", "")
WHEELS = os.environ.get("HALOY_TEST_WHEELS", "")
#: What C{install.sh --compiled} builds from.
SOURCE = (
    *("haloy", "twisted", "systemd", "setup.py", "setup.cfg", "pyproject.toml"),
    *("README.md", "LICENSE", "install.sh"),
)

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(not (DEBIAN and WHEELS), reason="is run by hand"),
]


#: What compiling takes, on a busy machine.
COMPILING_S = 1200


def test_compiled(tmp_path: Path, docker: PrivateDocker) -> None:
    """From a checkout, by the machine's own compiler; workers run what was compiled."""
    if not (Path(DEBIAN) / "usr/bin/gcc").exists():
        pytest.skip("there is no gcc in that Debian")
    client = shutil.which("docker")
    assert client is not None
    binds = {
        Path(docker.host.removeprefix("unix://")): "/run/docker.sock",
        Path(client): "/usr/local/bin/docker",
        Path(WHEELS): "/opt/wheels",
        **{ROOT / name: f"/opt/source/{name}" for name in SOURCE},
    }
    with machine(tmp_path / "machine", binds, base=Path(DEBIAN)) as server:
        server.told("groupadd", "--system", "docker")
        server.told("chgrp", "docker", "/run/docker.sock")
        done = server.run(
            *("sh", "/opt/source/install.sh", "--compiled"),
            *("--find-links", "/opt/wheels"),
            limit_s=COMPILING_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "compiled proxy" in server.told("haloyd", "version")
        assert all(verified(server).values())
        assert status_of(server, 80) == 404
        pid = server.show("haloy-proxy", "MainPID")
        workers = server.told("cat", f"/proc/{pid}/task/{pid}/children").split()
        assert workers
        for one in workers:
            assert "haloy_proxy__mypyc" in server.told("cat", f"/proc/{one}/maps")


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
