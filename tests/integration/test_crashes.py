"""haloyd is killed in the middle of a deployment: nothing is half, nothing is lost."""

from __future__ import annotations

import itertools
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.integration.site import Server, build, identifier, server
from tests.integration.traffic import WebSocket, build_busy, mounts
from tests.support.dockerd import PrivateDocker
from tests.support.forwarder import Forwarder, forwarder
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
_ID = re.compile(r"[0-9a-f]{64}")

#: The ways to deploy, and at how many points of each haloyd is killed: twenty.
WAYS: tuple[tuple[dict[str, Any], int], ...] = (
    ({"replicas": 2}, 7),
    ({"replicas": 2, "deploymentStrategy": "blue_green"}, 7),
    ({"deploymentStrategy": "replace", "namingStrategy": "static"}, 6),
)


def all_pass(_call: str, _answered: bool) -> bool:
    return True


@define(eq=False)
class Killer:
    """Kills haloyd at one of the calls by which it changes something in Docker.

    Looks are not counted, nor is the removal of old images: no step of a deployment
    orders them.

    @ivar at: how many such calls are let through.
    @ivar answered: the fatal one is carried out and haloyd never hears of it; else
        it does not reach Docker.
    """

    haloyd: Server
    at: int
    answered: bool
    calls: list[str] = field(factory=list)
    done: threading.Event = field(factory=threading.Event)
    _lock: threading.Lock = field(factory=threading.Lock)

    def watch(self, call: str, answered: bool) -> bool:
        step = call.startswith(("POST ", "DELETE /containers"))
        if not step or answered is not self.answered:
            return True
        with self._lock:
            if self.done.is_set():
                return True  # it is the next haloyd's
            self.calls.append(_ID.sub("…", call))
            if len(self.calls) <= self.at:
                return True
            self.haloyd.daemon.kill()
            self.done.set()
            return False


@pytest.fixture
def watched(
    tmp_path: Path, docker: PrivateDocker
) -> Iterator[tuple[Server, Forwarder]]:
    """Give a haloyd that reaches Docker by a way that is watched."""
    health = {"interval": "1s", "timeout": "1s", "fall": 2, "rise": 1}
    try:
        with (
            forwarder(docker.host) as way,
            server(tmp_path, docker, way.host, health_monitor=health) as made,
        ):
            yield made, way
    finally:
        docker.clear(("app:one", "app:two"))


def test_killed_at_any_point(watched: tuple[Server, Forwarder]) -> None:
    """One version serves, the log has its end, nothing is left over (D12, E5, E6).

    Twenty points in all, evenly among the calls to Docker that change something, from
    the first to the removal of the old version: before a call arrives, or when it is
    carried out and haloyd has not heard of it.
    """
    haloyd, way = watched
    numbers = map(identifier, itertools.count())
    for values, points in WAYS:
        deploy_well(haloyd, next(numbers), values)
        counting = Killer(haloyd, at=1000, answered=False)
        way.watch = counting.watch
        deploy_well(haloyd, next(numbers), values)
        total = len(counting.calls)
        fatal = []
        for point in range(points):
            answered = point % 2
            killer = Killer(haloyd, point * total // points, bool(answered))
            way.watch = killer.watch
            killed(killer, next(numbers), values)
            fatal.append(("before ", "after ")[answered] + killer.calls[-1])
        print(f"{total} calls change something; killed {', '.join(fatal)}")
        assert len(set(fatal)) > points / 2, fatal
        way.watch = all_pass
    deploy_well(haloyd, next(numbers), WAYS[0][0])


def deploy_well(haloyd: Server, deployment: str, values: dict[str, Any]) -> None:
    """Deploy, and wait until nothing but this version is there."""
    end = haloyd.deploy(deployment, "app:two", **values)
    assert end.get("isDeploymentSuccess"), end
    haloyd.until_containers("shop", names(deployment, values))


def killed(killer: Killer, deployment: str, values: dict[str, Any]) -> None:
    """Deploy what does not serve now, be killed, start, and look."""
    haloyd = killer.haloyd
    before, (_, old) = haloyd.active("shop"), haloyd.get(SHOP)
    new = {"one": "two", "two": "one"}[old]
    haloyd.submit(deployment, f"app:{new}", **values)
    assert killer.done.wait(30), killer.calls
    haloyd.daemon.start()
    end = haloyd.end_of(deployment)
    active = haloyd.active("shop")
    if end.get("isDeploymentSuccess"):
        assert active == deployment
    else:
        assert end["fields"]["code"] == "interrupted"
        assert active == before
    version = new if active == deployment else old
    haloyd.until_serves(SHOP, version)
    wait_until(partial(only, haloyd, version), haloyd.daemon.log_text)
    haloyd.until_containers("shop", names(active, values), 60)


def only(haloyd: Server, version: str) -> bool:
    """Tell whether no other version answers any more; each of them answers well.

    A rolling deployment that was interrupted leaves a table with replicas of both,
    which serves until the new daemon has looked at them.
    """
    seen = [haloyd.get(SHOP) for _ in range(10)]
    assert {status for status, _ in seen} == {200}
    return {text for _, text in seen} == {version}


def names(deployment: str, values: dict[str, Any]) -> list[str]:
    """Return what the containers of a deployment are called."""
    if "namingStrategy" in values:
        return ["shop"]
    return [f"shop-{deployment}-r{number}" for number in (1, 2)]


@pytest.mark.parametrize("answered", [False, True])
def test_killed_on_the_way_back(
    watched: tuple[Server, Forwarder], tmp_path: Path, answered: bool
) -> None:
    """It had failed by then: the next haloyd says so, with the code, and clears it.

    Killed before Docker removes the new container, or when it has.
    """
    haloyd, way = watched
    build(haloyd.docker, tmp_path, "app:ends", "ends", "exit 3")
    haloyd.deploy(identifier(0), "app:one")
    killer = Killer(haloyd, at=0, answered=answered)
    way.watch = lambda call, heard: (
        not call.startswith("DELETE /containers") or killer.watch(call, heard)
    )
    haloyd.submit(identifier(1), "app:ends")
    assert killer.done.wait(30), haloyd.daemon.log_text()
    haloyd.daemon.start()
    end = haloyd.end_of(identifier(1))
    assert (end["isDeploymentFailed"], end["fields"]["code"]) == (True, "exited")
    assert "code 3" in end["fields"]["error"]
    assert haloyd.state("shop", identifier(1)) == "failed"
    assert haloyd.get(SHOP) == (200, "one")
    haloyd.until_containers("shop", [f"shop-{identifier(0)}"])


def test_end_marker_after_a_restart(haloyd: Server) -> None:
    """Who follows a deployment's log is told when haloyd is asked to end (D12)."""
    haloyd.deploy(identifier(0), "app:one")
    haloyd.submit(identifier(1), "app:two", healthCheckPath="/never")
    wait_until(
        lambda: haloyd.state("shop", identifier(1)) == "checking",
        haloyd.daemon.log_text,
    )
    haloyd.daemon.stop()
    haloyd.daemon.start()
    end = haloyd.end_of(identifier(1))
    assert (end["isDeploymentFailed"], end["fields"]["code"]) == (True, "interrupted")
    haloyd.until_serves(SHOP, "one")
    haloyd.until_containers("shop", [f"shop-{identifier(0)}"])


def test_a_drain_is_finished_after_a_restart(haloyd: Server, tmp_path: Path) -> None:
    """Tunnels of an embedded proxy end with haloyd; their container is not forgotten.

    Nothing keeps the old version by then: it is asked to end, status shows it until
    it has, in its own time, and it is removed.
    """
    build_busy(haloyd.docker, tmp_path)
    old, new = (f"shop-{identifier(number)}" for number in range(2))
    slow_end = [{"name": "END_S", "value": "4"}]
    haloyd.deploy(identifier(0), "busy:one", volumes=mounts(), env=slow_end)
    haloyd.until_serves(SHOP, "one")
    with closing(WebSocket(haloyd, SHOP)):
        end = haloyd.deploy(identifier(1), "busy:two", volumes=mounts())
        assert end.get("isDeploymentSuccess"), end
        wait_until(lambda: haloyd.draining("shop") == {old: 1}, haloyd.daemon.log_text)
        haloyd.daemon.kill()
    assert haloyd.containers("shop", running=True) == sorted([old, new])
    began = str(time.time())
    haloyd.daemon.start()
    wait_until(lambda: haloyd.draining("shop") == {old: 0}, haloyd.daemon.log_text)
    assert haloyd.get(SHOP) == (200, "two")
    haloyd.until_containers("shop", [new])
    assert haloyd.draining("shop") == {}
    wait_until(
        lambda: haloyd.state("shop", identifier(1)) == "live", haloyd.daemon.log_text
    )
    deaths = ("--since", began, "--until", str(time.time()), "--filter", "event=die")
    code = ("--format", "{{.Actor.Attributes.exitCode}}")
    assert haloyd.docker.docker("events", *deaths, *code) == "0"
