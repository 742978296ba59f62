"""Many apps on one server; C{HALOY_TEST_APPS=100} is the full length."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.site import Server, cpu_s, identifier, server
from tests.support.dockerd import PrivateDocker
from tests.support.waiting import allowance

pytestmark = pytest.mark.docker

APPS = int(os.environ.get("HALOY_TEST_APPS", "8"))
REPLICAS = 3
#: The promise for a hundred apps.
START_S, IDLE_PART, MEMORY_MIB = 10.0, 0.03, 150
#: What a busy machine adds to work: caches are shared.
DEAR = 2
#: Seconds of a core until all is routed, which others do not change much. It was 8.8
#: for a hundred apps when each was taken over and routed for itself.
WORK_S = 4 + 0.03 * APPS
WATCHED_S = 5.0 if APPS < 100 else 30.0


def run_apps(docker: PrivateDocker) -> None:
    """Start the containers as haloyd would have made them."""

    def run(number: int) -> None:
        app, replica = divmod(number, REPLICAS)
        labels = {
            "appName": f"app{app}",
            "deployment-id": identifier(app),
            "domain.0": f"app{app}.example.test",
            "port": "8080",
            "health-check-path": "/version",
            "managed-by": "haloyd",
            "role": "app",
            "strategy": "rolling",
            "replica": str(replica + 1),
        }
        docker.docker(
            *("run", "-d", "--network", "haloy", "--restart", "unless-stopped"),
            *("--name", f"app{app}-{identifier(app)}-r{replica + 1}"),
            *(f"--label=dev.haloy.{key}={value}" for key, value in labels.items()),
            "app:one",
        )

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(APPS * REPLICAS)))


def until_all_serve(haloyd: Server, began: float) -> float:
    for app in range(APPS):
        haloyd.until_serves(f"app{app}.example.test", "one", 60)
    return time.monotonic() - began


def memory_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def test_many_apps(tmp_path: Path, docker: PrivateDocker) -> None:
    """Found and routed within seconds, by labels alone and again; cheap at rest."""
    try:
        run_apps(docker)
        began = time.monotonic()
        with server(tmp_path, docker) as haloyd:
            first_s = until_all_serve(haloyd, began)
            work_s = cpu_s(haloyd.daemon.pid)
            haloyd.daemon.stop()
            began = time.monotonic()
            haloyd.daemon.start()
            again_s = until_all_serve(haloyd, began)
            time.sleep(3)
            before = cpu_s(haloyd.daemon.pid)
            time.sleep(WATCHED_S)
            idle = (cpu_s(haloyd.daemon.pid) - before) / WATCHED_S
            memory = memory_mib(haloyd.daemon.pid)
        print(
            f"{APPS} apps of {REPLICAS}: routed in {first_s:.1f} s by labels, in "
            f"{again_s:.1f} s again; {work_s:.1f} s of work; idle {idle:.1%} "
            f"of a core, {memory:.0f} MiB"
        )
        assert first_s < START_S * allowance()
        assert again_s < START_S * allowance()
        assert work_s < WORK_S
        assert idle < IDLE_PART * DEAR
        assert memory < MEMORY_MIB
    finally:
        docker.clear(("app:one", "app:two"))
