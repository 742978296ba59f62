"""Deployments in a row while everything that people do is going on; none is lost."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Server, identifier
from tests.integration.traffic import build_busy, mounts, traffic

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
#: Of each strategy, one after another: twenty in all.
ROUNDS = 5
WAYS: tuple[dict[str, Any], ...] = (
    {"deploymentStrategy": "rolling"},
    {"deploymentStrategy": "rolling", "replicas": 3},
    {"deploymentStrategy": "blue_green", "replicas": 2},
    {"deploymentStrategy": "replace", "namingStrategy": "static"},
)


def test_no_request_is_lost(haloyd: Server, tmp_path: Path) -> None:
    """Quick, slow, large, both ways, kept and new connections, a WebSocket (D14).

    The app ends at once on SIGTERM. Each strategy begins with what the one before it
    has left. Replacing ends tunnels: nothing may run beside the new version.
    """
    build_busy(haloyd.docker, tmp_path)
    numbers, images = itertools.count(), itertools.cycle(("busy:one", "busy:two"))

    def deploy(way: dict[str, Any]) -> float:
        began = time.monotonic()
        end = haloyd.deploy(
            identifier(next(numbers)), next(images), volumes=mounts(), **way
        )
        assert end.get("isDeploymentSuccess"), str(end)
        return time.monotonic() - began

    deploy(WAYS[0])
    for way in WAYS:
        strategy = way["deploymentStrategy"]
        with traffic(haloyd, SHOP, websocket=strategy != "replace") as people:
            took = [deploy(way) for _ in range(ROUNDS)]
            time.sleep(0.5)  # the last version is seen, too
        print(
            f"{strategy} x {way.get('replicas', 1)}: {ROUNDS} deployments "
            f"({min(took):.2f} to {max(took):.2f} s), {people.count} requests, "
            f"{people.messages} messages, {len(people.failures)} failures; "
            f"p99 {people.percentile(0.99) * 1000:.0f} ms; {people.flips} flips"
        )
        assert people.failures == []
        if strategy != "replace":
            assert people.messages > 0
        if way.get("replicas") != 3:
            # Once for each deployment, never back and forth.
            assert people.flips <= ROUNDS
