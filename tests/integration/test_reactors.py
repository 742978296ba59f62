"""haloyd on the lean reactor (C{twistd --reactor haloy}) does all it does on epoll.

On both run: a deployment under load over TLS with a WebSocket, a crash, the end (here);
requests of workers and their reload (C{test_either_reactor} and C{test_worker_pool} in
C{tests/proxy/split}). Other tests of haloyd and of the proxy in one process run on the
stock one, all other tests of workers on the lean one, which has tests of its own in
C{tests/proxy/test_reactor.py}.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.site import Server, identifier
from tests.integration.traffic import build_busy, mounts, traffic

pytestmark = [pytest.mark.docker, pytest.mark.slow]

SHOP = "shop.example.test"


@pytest.mark.parametrize("chosen", ["epoll", "haloy"])
def test_everything_once(haloyd: Server, tmp_path: Path, chosen: str) -> None:
    """It deploys under load without a loss, sees a crash, streams, and ends in order.

    TLS and WebSockets, Docker's socket and its events, threads, child processes' ends
    and signals all go through the reactor.
    """
    build_busy(haloyd.docker, tmp_path)
    haloyd.daemon.stop()
    haloyd.daemon.reactor = chosen
    haloyd.daemon.start()
    values = {"volumes": mounts(), "deploymentStrategy": "rolling"}
    haloyd.deploy(identifier(0), "busy:one", **values)
    with traffic(haloyd, SHOP, websocket=True) as people:
        end = haloyd.deploy(identifier(1), "busy:two", **values)
        assert end.get("isDeploymentSuccess"), end
    assert people.failures == []
    assert people.count > 0
    assert people.messages > 0
    replica = f"shop-{identifier(1)}"
    haloyd.until_containers("shop", [replica])
    haloyd.docker.docker("kill", replica)
    haloyd.until_serves(SHOP, "two")
    haloyd.daemon.stop()
    assert haloyd.daemon.process is not None
    assert haloyd.daemon.process.returncode in (0, -15)
    assert "Traceback" not in haloyd.daemon.log_text()
