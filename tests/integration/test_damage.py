"""What haloyd has on disk is damaged, the clock jumps, descriptors and room run out.

Each fault hits a real haloyd: it starts anyway, traffic goes on, and it is told in one
line.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.integration.site import (
    Server,
    cpu_s,
    identifier,
    load,
    server,
    write_certificate,
)
from tests.support.clock import JUMPS, faked_clock, set_clock, years_of
from tests.support.dockerd import PrivateDocker
from tests.support.haloyd import running_daemon
from tests.support.ports import free_port
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.systemd import manager
from tests.support.waiting import allowance, wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
IMAGES = ("app:one", "app:two")

Damage = Callable[[Path], None]


def overwrite(path: Path) -> None:
    """Leave nothing of it, not even its beginning."""
    path.write_bytes(b"\0not what was written\xff" * 400)


def truncate(path: Path) -> None:
    """Lose the second half, as a crash of the machine can."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def aside(path: Path) -> list[str]:
    return [one.name for one in path.parent.glob(f"{path.name}.corrupt-*Z")]


@pytest.mark.parametrize("damage", [overwrite, truncate])
def test_damaged_files(haloyd: Server, damage: Damage) -> None:
    """Database, snapshot and certificate at once: all is found by its labels.

    Each file is kept as C{NAME.corrupt-TIME} and told once; the next deployment works.
    """
    data = haloyd.daemon.data
    certificate = data / "certs" / "blog.example.test.pem"
    write_certificate(certificate.parent, "blog.example.test")
    haloyd.deploy(identifier(0), "app:one")
    haloyd.deploy(identifier(1), "app:two", name="blog")
    haloyd.daemon.kill()
    damaged = (data / "db/haloy.db", data / "proxy/intents.json", certificate)
    (data / "db/haloy.db-wal").unlink(missing_ok=True)  # or it would be mended by it
    for path in damaged:
        damage(path)
    haloyd.daemon.log.unlink()
    haloyd.daemon.start()
    took_s = haloyd.until_serves(SHOP, "one")
    haloyd.until_serves("blog.example.test", "two")
    print(f"routed {took_s:.1f} s after the start")
    text = haloyd.daemon.log_text()
    for path in damaged:
        (name,) = aside(path)
        told = [line for line in text.splitlines() if name in line]
        assert len(told) == 1, told
        assert "Traceback" not in text
    end = haloyd.deploy(identifier(2), "app:two")
    assert end["isDeploymentSuccess"], end
    assert haloyd.get(SHOP) == (200, "two")
    haloyd.until_containers("shop", [f"shop-{identifier(2)}"])


def test_a_damaged_configuration(haloyd: Server) -> None:
    """It is never moved: the last good copy runs, one line tells, and it is not ready.

    Corrected, it counts from SIGHUP on. Without a copy that is good the start is
    refused in one line.
    """
    daemon = haloyd.daemon
    haloyd.deploy(identifier(0), "app:one")
    daemon.stop()
    config = daemon.config / "haloyd.yaml"
    good = config.read_bytes()
    overwrite(config)
    damaged = config.read_bytes()
    daemon.log.unlink()
    daemon.start(wait=False)
    haloyd.until_serves(SHOP, "one")
    status, text = daemon.api("GET", "/health/ready")
    assert (status, str(config) in text) == (503, True), text
    told = [line for line in daemon.log_text().splitlines() if str(config) in line]
    assert len(told) == 1, told
    assert "running by the last good configuration" in told[0]
    assert haloyd.deploy(identifier(1), "app:two")["isDeploymentSuccess"]
    assert config.read_bytes() == damaged
    config.write_bytes(good)
    os.kill(daemon.pid, signal.SIGHUP)
    daemon.wait_ready()
    daemon.stop()
    config.write_bytes(good[: good.index(b"listen") + 3])  # cut in a word
    overwrite(daemon.data / "haloyd.yaml.last-good")
    daemon.log.unlink()
    daemon.start(wait=False)
    assert daemon.process is not None
    assert daemon.process.wait(30) == 1
    (line,) = daemon.log_text().splitlines()
    assert line.startswith(f"haloyd: {config}:"), line
    config.write_bytes(good)
    daemon.start()
    haloyd.until_serves(SHOP, "two")


@pytest.fixture
def split(
    tmp_path: Path, docker: PrivateDocker
) -> Iterator[tuple[Server, RunningProxy, list[str]]]:
    """Give a haloyd and a haloy-proxy, and what the latter was started with."""
    http, https = (f"127.0.0.1:{free_port()}" for _ in range(2))
    control = str(tmp_path / "proxy.sock")
    settings = {"mode": "split", "control": control, "http": http, "https": https}
    where = ["--http", http, "--https", https, "--stop-limit", "3"]
    try:
        with (
            running_proxy(tmp_path, *where) as proxy,
            server(tmp_path, docker, proxy=settings) as made,
        ):
            yield made, proxy, where
    finally:
        docker.clear(IMAGES)


def test_a_damaged_table_of_the_proxy(
    split: tuple[Server, RunningProxy, list[str]], tmp_path: Path
) -> None:
    """haloy-proxy starts without it, and haloyd, which runs, tells it everything."""
    haloyd, proxy, where = split
    haloyd.deploy(identifier(0), "app:one")
    table = tmp_path / "state" / "table.json"
    proxy.end()
    overwrite(table)
    (pem,) = (tmp_path / "state" / "certs").glob("*.pem")
    truncate(pem)
    with running_proxy(tmp_path, *where) as again:
        haloyd.until_serves(SHOP, "one")
        text = again.log.read_text()
        assert "Traceback" not in text
    for path in (table, pem):
        (name,) = aside(path)
        assert text.count(name) == 1, text


# --- the clock ------------------------------------------------------------------------


@contextmanager
def authority() -> Iterator[tuple[str, list[float]]]:
    """Give a CA that is broken, and the times at which it was called."""
    calls: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                calls.append(time.monotonic())
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listening.getsockname()[1]}/directory", calls
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.usefixtures("unmeasured")  # the library would be in coverage's way
def test_the_clock_jumps(tmp_path: Path, docker: PrivateDocker) -> None:
    """Two days on, a year back, and right: no verdict changes, no storm of orders.

    Requests go on, the watchdog is fed, and a deployment works at any time.
    """
    clock = tmp_path / "clock"
    set_clock(clock, timedelta())
    write_certificate(tmp_path / "data" / "certs", "shop.example.test")
    faked = {**faked_clock(clock), "WATCHDOG_USEC": "3000000"}
    with authority() as (directory, calls), manager(tmp_path) as heard:
        try:
            with running_daemon(
                tmp_path,
                {**docker.environment, **faked, "NOTIFY_SOCKET": heard.address},
                health_monitor={"interval": "1s", "timeout": "5s", "fall": 2},
                acme={"directory": directory},
                # Nobody answers there: the CA is asked all the same.
                dns={"resolvers": [f"127.0.0.1:{free_port()}"]},
            ) as daemon:
                haloyd = Server(daemon, docker)
                haloyd.deploy(identifier(0), "app:one")
                haloyd.deploy(identifier(1), "app:one", name="blog")  # no certificate
                wait_until(lambda: bool(calls), daemon.log_text)
                with load(haloyd, SHOP) as clients:
                    for jump in JUMPS:
                        before = len(calls)
                        set_clock(clock, jump)
                        heard.wait_for("WATCHDOG=1", 4)
                        # Not one a second: two at most, by the ladder of retries.
                        assert len(calls) - before <= 2
                        if jump < timedelta():
                            end = haloyd.deploy(
                                identifier(2), "app:two", minReadySeconds=1
                            )
                            assert end["isDeploymentSuccess"], end
                assert clients.failures == []
                assert haloyd.verdicts("unhealthy") == 0
                text = daemon.log_text()
        finally:
            docker.clear(IMAGES)
    assert years_of(text) == 2, "the daemon has not seen another clock"
    assert "Traceback" not in text


# --- descriptors and room -------------------------------------------------------------


#: Of so many, 64 are kept from clients.
DESCRIPTORS = 200


def test_descriptors_run_out(haloyd: Server) -> None:
    """Clients that hold all they can get leave the API what it needs.

    It is told once a second, costs no busy loop, and is over when they go.
    """
    haloyd.deploy(identifier(0), "app:one")
    haloyd.daemon.stop()
    haloyd.daemon.prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    haloyd.daemon.start()
    haloyd.until_serves(SHOP, "one")
    pid, place = haloyd.daemon.pid, ("127.0.0.1", haloyd.daemon.https_port)
    haloyd.daemon.log.write_text("")
    with ExitStack() as stack:
        for _ in range(DESCRIPTORS):
            stack.enter_context(socket.create_connection(place, 5))
        wait_until(lambda: "accepting pauses" in haloyd.daemon.log_text(), str)
        began, before_s = time.monotonic(), cpu_s(pid)
        for _ in range(4):
            assert haloyd.daemon.api("GET", "/v1/status/shop")[0] == 200
            time.sleep(0.5)
        assert haloyd.deploy(identifier(1), "app:two")["isDeploymentSuccess"]
        passed_s, spent_s = time.monotonic() - began, cpu_s(pid) - before_s
        told = haloyd.daemon.log_text().count("accepting pauses")
    took_s = haloyd.until_serves(SHOP, "two")
    print(
        f"{spent_s / passed_s:.0%} of a core, {told} lines, well after {took_s:.1f} s"
    )
    assert spent_s / passed_s < 0.6
    assert 1 <= told <= passed_s + 2
    assert took_s < 1.0 * allowance()
