"""haloyd is killed in the middle of a deployment: nothing is half, nothing is lost."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any

import pytest

from tests.integration.site import Server, identifier
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
#: At how many moments of a deployment haloyd is killed, for each strategy.
POINTS = int(os.environ.get("HALOY_TEST_POINTS", "3"))

ROLLING = {"replicas": 2}
BLUE_GREEN = {"replicas": 2, "deploymentStrategy": "blue_green"}
REPLACE = {"deploymentStrategy": "replace", "namingStrategy": "static"}


@pytest.mark.parametrize(
    "values", [ROLLING, BLUE_GREEN, REPLACE], ids=["rolling", "blue_green", "replace"]
)
def test_killed_at_any_point(haloyd: Server, values: dict[str, Any]) -> None:
    """One version serves, the log has its end, nothing is left over (D12, E5, E6)."""
    haloyd.deploy(identifier(0), "app:one", **values)
    began = time.monotonic()
    haloyd.deploy(identifier(1), "app:two", **values)
    took_s = time.monotonic() - began
    for point in range(POINTS):
        killed, following = identifier(2 + 2 * point), identifier(3 + 2 * point)
        before = haloyd.active("shop")
        haloyd.submit(killed, "app:one", **values)
        # Beyond the end too: the old version drains and is removed then.
        time.sleep(took_s * 1.4 * (point + 0.5) / POINTS)
        haloyd.daemon.kill()
        haloyd.daemon.start()
        end = haloyd.end_of(killed)
        active = haloyd.active("shop")
        if end.get("isDeploymentSuccess"):
            assert active == killed
        else:
            assert end["fields"]["code"] == "interrupted"
            assert active == before
        version = "one" if active == killed else "two"
        haloyd.until_serves(SHOP, version)
        wait_until(partial(only, haloyd, version), haloyd.daemon.log_text)
        haloyd.until_containers("shop", names(active, values), 60)
        again = haloyd.deploy(following, "app:two", **values)
        assert again.get("isDeploymentSuccess"), again
    haloyd.until_containers("shop", names(identifier(1 + 2 * POINTS), values))


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
