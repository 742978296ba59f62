"""haloyd and haloy-proxy in processes of their own: neither's fate is the other's."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Server, identifier, load, server
from tests.integration.traffic import WebSocket, build_busy, mounts, traffic
from tests.support.dockerd import PrivateDocker
from tests.support.ports import free_port
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SITE = "shop.example.test"
API = "api.example.test"
ROUNDS = 20
#: In what haloyd is ready after them: workers that start take the cores meanwhile.
AFTER_LIMIT_S = 120.0
#: At how many moments of a deployment haloyd is killed, for each strategy.
POINTS = int(os.environ.get("HALOY_TEST_POINTS", "3"))
STRATEGIES: tuple[dict[str, Any], ...] = (
    {"deploymentStrategy": "rolling", "replicas": 2},
    {"deploymentStrategy": "blue_green", "replicas": 2},
    {"deploymentStrategy": "replace"},
)


@pytest.fixture
def split(
    tmp_path: Path, docker: PrivateDocker
) -> Iterator[tuple[Server, RunningProxy]]:
    """Give a haloyd that drives a haloy-proxy with two workers."""
    http, https = (f"127.0.0.1:{free_port()}" for _ in range(2))
    settings = {
        "mode": "split",
        "control": str(tmp_path / "proxy.sock"),
        "http": http,
        "https": https,
    }
    where = ("--http", http, "--https", https, "--stop-limit", "3")
    try:
        with (
            running_proxy(tmp_path, *where) as proxy,
            server(tmp_path, docker, proxy=settings, api={"domain": API}) as made,
        ):
            yield made, proxy
    finally:
        docker.clear(("app:one", "app:two"))


def test_killed_and_reloaded_twenty_times(
    split: tuple[Server, RunningProxy], tmp_path: Path
) -> None:
    """Not one request fails, and the deployment that follows works (split: 0 failed).

    haloyd is killed in any moment of its start, the proxy's workers are replaced all
    the time. While haloyd is away the API's domain answers 503. Asked by kept and by
    new connections, by HTTP/2, with uploads, and on a WebSocket that lives through all.
    """
    haloyd, proxy = split
    build_busy(haloyd.docker, tmp_path)
    haloyd.deploy(identifier(0), "busy:one", volumes=mounts())
    haloyd.until_serves(SITE, "one")
    draw = random.Random(6)
    with traffic(haloyd, SITE) as people:
        for _ in range(ROUNDS):
            haloyd.daemon.kill()
            haloyd.daemon.start(wait=False)
            proxy.process.send_signal(signal.SIGHUP)
            time.sleep(draw.uniform(0.0, 1.5))
        haloyd.daemon.kill()
        assert haloyd.get(API, "/health")[0] == 503
        haloyd.daemon.start(wait=False)
        haloyd.daemon.wait_ready(AFTER_LIMIT_S)
        wait_until(lambda: haloyd.get(API, "/health")[0] == 200, haloyd.daemon.log_text)
        end = haloyd.deploy(identifier(1), "busy:two", volumes=mounts())
        assert end.get("isDeploymentSuccess"), end
        assert haloyd.get(SITE) == (200, "two")
    print(
        f"{ROUNDS} kills, {proxy.log.read_text().count('were replaced')} reloads: "
        f"{people.count} requests, "
        f"{people.by_http2} by HTTP/2, {people.messages} messages, 0 failed"
    )
    assert people.failures == []
    assert min(people.by_http2, people.messages) > ROUNDS
    haloyd.until_containers("shop", [f"shop-{identifier(1)}"])


def test_the_proxy_serves_without_haloyd(
    split: tuple[Server, RunningProxy],
) -> None:
    """Restarted while haloyd is away it has routes and TLS; haloyd finds it again."""
    haloyd, proxy = split
    haloyd.deploy(identifier(0), "app:one")
    haloyd.until_serves(SITE, "one")
    with load(haloyd, SITE) as clients:
        for _ in range(3):
            proxy.reload()
    assert clients.failures == []
    haloyd.daemon.kill()
    proxy.kill_worker()
    assert haloyd.get(SITE) == (200, "one")
    haloyd.daemon.start()
    end = haloyd.deploy(identifier(1), "app:two")
    assert not end.get("isDeploymentFailed"), end
    assert haloyd.get(SITE) == (200, "two")


def test_sockets_are_removed(split: tuple[Server, RunningProxy]) -> None:
    """Both are made again: a haloyd that starts later drives the proxy as before.

    No request fails meanwhile, and the API's domain leads to haloyd again.
    """
    haloyd, _ = split
    haloyd.deploy(identifier(0), "app:one")
    haloyd.until_serves(SITE, "one")
    folder = haloyd.daemon.folder
    with load(haloyd, SITE) as clients:
        for name in ("proxy.sock", "api.sock"):
            (folder / name).unlink()
        wait_until((folder / "api.sock").exists, haloyd.daemon.log_text)
        wait_until(lambda: haloyd.get(API, "/health")[0] == 200, haloyd.daemon.log_text)
        wait_until((folder / "proxy.sock").exists, haloyd.daemon.log_text)
        haloyd.daemon.kill()
        haloyd.daemon.start()
        end = haloyd.deploy(identifier(1), "app:two")
        assert end.get("isDeploymentSuccess"), end
    assert clients.failures == []
    assert haloyd.get(SITE) == (200, "two")


def test_no_request_is_lost(split: tuple[Server, RunningProxy]) -> None:
    """Each strategy, and from one to the next, by orders over the control socket."""
    haloyd, _ = split
    haloyd.deploy(identifier(0), "app:one")
    haloyd.until_serves(SITE, "one")
    with load(haloyd, SITE) as clients:
        for number, values in enumerate(2 * STRATEGIES, 1):
            tag = ("one", "two")[number % 2]
            end = haloyd.deploy(identifier(number), f"app:{tag}", **values)
            assert end.get("isDeploymentSuccess"), end
            assert haloyd.get(SITE) == (200, tag)
    assert clients.failures == []
    print(f"{sum(clients.answers.values())} requests, 0 failed")


@pytest.mark.parametrize(
    "values", STRATEGIES, ids=[one["deploymentStrategy"] for one in STRATEGIES]
)
def test_killed_during_a_deployment(
    split: tuple[Server, RunningProxy], values: dict[str, Any]
) -> None:
    """haloyd, in any moment: not one request fails, and one version serves after."""
    haloyd, _ = split
    haloyd.deploy(identifier(0), "app:one", **values)
    haloyd.until_serves(SITE, "one")
    began = time.monotonic()
    haloyd.deploy(identifier(1), "app:two", **values)
    took_s = time.monotonic() - began
    with load(haloyd, SITE) as clients:
        for point in range(POINTS):
            killed, following = identifier(2 + 2 * point), identifier(3 + 2 * point)
            haloyd.submit(killed, "app:one", **values)
            time.sleep(took_s * 1.4 * (point + 0.5) / POINTS)
            haloyd.daemon.kill()
            haloyd.daemon.start()
            end = haloyd.end_of(killed)
            active = haloyd.active("shop")
            assert (active == killed) is bool(end.get("isDeploymentSuccess"))
            haloyd.until_serves(SITE, "one" if active == killed else "two")
            again = haloyd.deploy(following, "app:two", **values)
            assert again.get("isDeploymentSuccess"), again
    print(f"{sum(clients.answers.values())} requests, {POINTS} kills, 0 failed")
    assert clients.failures == []


def test_a_lost_snapshot(split: tuple[Server, RunningProxy]) -> None:
    """What the proxy serves stays until haloyd has found it all again (rule 5).

    Snapshot and database are gone; a sick app beside is waited for once, not for ever.
    """
    haloyd, _ = split
    for number, name in enumerate(("shop", "blog", "sick")):
        haloyd.deploy(identifier(number), "app:one", name=name)
    haloyd.docker.docker("exec", f"sick-{identifier(2)}", "rm", "/www/version")
    with load(haloyd, SITE) as shop, load(haloyd, "blog.example.test") as blog:
        haloyd.daemon.kill()
        for folder in ("proxy", "db"):
            for path in (haloyd.daemon.data / folder).iterdir():
                path.unlink()
        haloyd.daemon.start()
        end = haloyd.deploy(identifier(3), "app:two")
        assert end.get("isDeploymentSuccess"), end
    assert shop.failures + blog.failures == []


def test_a_snapshot_of_before(split: tuple[Server, RunningProxy]) -> None:
    """Killed within the second in which it is not written: what came last is served on.

    A container that somebody has started is in no database either: it is found again.
    """
    haloyd, _ = split
    haloyd.deploy(identifier(0), "app:one")
    haloyd.until_serves(SITE, "one")
    kept = haloyd.daemon.data / "proxy" / "intents.json"
    before = kept.read_bytes()
    start_by_hand(haloyd, "extra")
    haloyd.until_serves("extra.example.test", "two")
    with load(haloyd, "extra.example.test") as extra, load(haloyd, SITE) as shop:
        haloyd.daemon.kill()
        kept.write_bytes(before)
        haloyd.daemon.start()
        wait_until(lambda: b'"extra"' in kept.read_bytes(), haloyd.daemon.log_text)
    assert extra.failures + shop.failures == []
    assert haloyd.get("extra.example.test") == (200, "two")


def start_by_hand(haloyd: Server, name: str) -> None:
    """Run C{app:two} as people do, without haloyd."""
    labels = {
        "appName": name,
        "deployment-id": "manual-001",
        "role": "app",
        "domain.0": f"{name}.example.test",
        "port": "8080",
        "health-check-path": "/version",
    }
    told = [f"--label=dev.haloy.{key}={value}" for key, value in labels.items()]
    run = ("run", "-d", "--name", name, "--network", "haloy")
    haloyd.docker.docker(*run, *told, "app:two")


def test_a_drain_goes_on(split: tuple[Server, RunningProxy], tmp_path: Path) -> None:
    """An old tunnel lives through a deployment and haloyd's end; status shows it."""
    haloyd, _ = split
    build_busy(haloyd.docker, tmp_path)
    old, new = (f"shop-{identifier(number)}" for number in range(2))
    haloyd.deploy(identifier(0), "busy:one", volumes=mounts())
    haloyd.until_serves(SITE, "one")
    tunnel = WebSocket(haloyd, SITE)
    try:
        assert haloyd.deploy(identifier(1), "busy:two", volumes=mounts())[
            "isDeploymentSuccess"
        ]
        for _ in range(2):
            wait_until(
                lambda: haloyd.draining("shop") == {old: 1}, haloyd.daemon.log_text
            )
            tunnel.echo("still here")
            assert haloyd.get(SITE) == (200, "two")
            haloyd.daemon.kill()
            haloyd.daemon.start()
        tunnel.echo("and here")
    finally:
        tunnel.close()
    haloyd.until_containers("shop", [new])
    assert haloyd.draining("shop") == {}
