"""Deployments in a row while everything that people do is going on; none is lost.

C{HALOY_TEST_ROUNDS=20} is the full length (C{docs/promises.md}).
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Server, identifier
from tests.integration.traffic import build_busy, mounts, traffic

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
ROUNDS = int(os.environ.get("HALOY_TEST_ROUNDS", "3"))


@pytest.mark.parametrize(
    ("strategy", "replicas", "values"),
    [
        ("rolling", 1, {}),
        ("rolling", 3, {}),
        ("blue_green", 2, {}),
        ("replace", 1, {"namingStrategy": "static"}),
    ],
)
def test_no_request_is_lost(
    haloyd: Server,
    tmp_path: Path,
    strategy: str,
    replicas: int,
    values: dict[str, Any],
) -> None:
    """Quick, slow, large, both ways, kept and new connections, a WebSocket (D14).

    The app ends at once on SIGTERM. Replacing ends tunnels: nothing may run beside
    the new version.
    """
    build_busy(haloyd.docker, tmp_path)
    values = values | {
        "deploymentStrategy": strategy,
        "replicas": replicas,
        "volumes": mounts(),
    }
    websocket = strategy != "replace"
    haloyd.deploy(identifier(0), "busy:one", **values)
    with traffic(haloyd, SHOP, websocket) as calm:
        time.sleep(2)
    took: list[float] = []
    with traffic(haloyd, SHOP, websocket) as people:
        for number in range(1, ROUNDS + 1):
            image = ("busy:one", "busy:two")[number % 2]
            began = time.monotonic()
            end = haloyd.deploy(identifier(number), image, **values)
            took.append(time.monotonic() - began)
            assert end.get("isDeploymentSuccess"), end
            time.sleep(0.5)
    print(
        f"{strategy} x {replicas}: {ROUNDS} deployments ({min(took):.2f} to "
        f"{max(took):.2f} s), {people.count} requests, {people.messages} messages, "
        f"{len(people.failures)} failures; p99 {calm.percentile(0.99) * 1000:.0f} → "
        f"{people.percentile(0.99) * 1000:.0f} ms; {people.flips} flips"
    )
    assert calm.failures == []
    assert people.failures == []
    if websocket:
        assert people.messages > 0
    if strategy != "rolling" or replicas == 1:
        # Once for each deployment, never back and forth.
        assert people.flips <= ROUNDS
