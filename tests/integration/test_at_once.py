"""Stop, rollback and deploy of one app, asked for while another of them is under way.

Each is carried out in its turn or never begins, whoever follows it is told which, and
no request is lost while something should serve.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.site import Load, Server, body, identifier, load
from tests.integration.traffic import WebSocket, build_busy, mounts
from tests.support.waiting import wait_until

pytestmark = pytest.mark.docker

SHOP = "shop.example.test"
#: Takes so long that something else can be asked for meanwhile.
LATE: dict[str, Any] = {"minReadySeconds": 4}
#: What is answered for an app that was stopped on purpose.
STOPPED = ("404", "502", "503")


def stop(haloyd: Server, *options: str, name: str = "shop") -> tuple[int, str]:
    query = "&".join(f"{one}=true" for one in options)
    return haloyd.daemon.api("POST", f"/v1/stop/{name}?{query}", limit_s=60)


def roll_back(haloyd: Server, target: str, new: str, **values: Any) -> None:
    asked = {
        "targetDeploymentID": target,
        "newDeploymentID": new,
        "newTargetConfig": body(new, "app:one", **values)["targetConfig"],
    }
    status, text = haloyd.daemon.api("POST", "/v1/rollback", asked)
    assert status == 202, text


def until_checked(haloyd: Server, deployment: str) -> None:
    wait_until(
        lambda: haloyd.state("shop", deployment) == "checking", haloyd.daemon.log_text
    )


def code_of(haloyd: Server, deployment: str) -> str:
    """Follow a deployment to its end; return what it failed with, or C{live}."""
    end = haloyd.end_of(deployment)
    succeeded = bool(end.get("isDeploymentSuccess"))
    assert succeeded is not bool(end.get("isDeploymentFailed")), end
    return "live" if succeeded else str(end["fields"]["code"])


def until_settled(haloyd: Server, *states: str) -> None:
    """Wait until the deployments, from the first on, are recorded so."""
    wanted = dict(enumerate(states))

    def found() -> dict[int, str]:
        return {one: haloyd.state("shop", identifier(one)) for one in wanted}

    wait_until(lambda: found() == wanted, lambda: f"{found()}, not {wanted}")


def tags(haloyd: Server) -> set[str]:
    """Return the names of the app's images."""
    return set(haloyd.docker.docker("images", "--format", "{{.Tag}}", "shop").split())


def stopped_only(clients: Load) -> None:
    """Check that nothing went wrong but that nobody served, in the end."""
    others = [
        one
        for one in clients.failures
        if one.partition(": ")[2].partition(" ")[0] not in STOPPED
    ]
    assert others == []


def test_stop_while_it_deploys(haloyd: Server) -> None:
    """What runs goes live, what waits never begins, and then the app is stopped.

    Until then all is served; nothing starts again before the next deploy.
    """
    haloyd.deploy(identifier(0), "app:one", replicas=2)
    with load(haloyd, SHOP) as clients:
        haloyd.submit(identifier(1), "app:two", **LATE)
        until_checked(haloyd, identifier(1))
        haloyd.submit(identifier(2), "app:two")
        assert stop(haloyd)[0] == 202
        assert code_of(haloyd, identifier(2)) == "superseded"
        assert clients.failures == []
        assert code_of(haloyd, identifier(1)) == "live"
        wait_until(
            lambda: haloyd.containers("shop", running=True) == [],
            haloyd.daemon.log_text,
        )
    stopped_only(clients)
    until_settled(haloyd, "retired", "live", "superseded")
    assert haloyd.get(SHOP)[0] == 404
    assert haloyd.deploy(identifier(3), "app:two")["isDeploymentSuccess"]
    haloyd.until_containers("shop", [f"shop-{identifier(3)}"])
    until_settled(haloyd, "retired", "retired", "superseded", "live")
    assert haloyd.get(SHOP) == (200, "two")
    assert tags(haloyd) == {identifier(0), identifier(1), identifier(3)}


def test_removed_while_it_is_deployed_first(haloyd: Server) -> None:
    """It is not unknown: it goes as soon as it is there, with its volumes."""
    haloyd.submit(identifier(0), "app:one", volumes=["haloytest-data:/data"], **LATE)
    until_checked(haloyd, identifier(0))
    assert stop(haloyd, "remove-containers", "remove-volumes")[0] == 202
    assert code_of(haloyd, identifier(0)) == "live"
    wait_until(lambda: haloyd.containers("shop") == [], haloyd.daemon.log_text)
    wait_until(
        lambda: "haloytest-data" not in haloyd.docker.docker("volume", "ls", "-q"),
        haloyd.daemon.log_text,
    )
    assert haloyd.get(SHOP)[0] == 404
    haloyd.daemon.kill()
    haloyd.daemon.start()
    haloyd.deploy(identifier(1), "app:one", name="blog")  # so long it is looked at
    assert haloyd.containers("shop") == []
    assert stop(haloyd)[0] in (202, 404)


def test_rollback_while_it_deploys(haloyd: Server) -> None:
    """First the one, then the other, though its image would be too old by then.

    It takes the place of the deployment that waited.
    """
    two_kept = {"history": {"strategy": "local", "count": 2}}
    haloyd.deploy(identifier(0), "app:one", source=two_kept)
    haloyd.deploy(identifier(1), "app:two", source=two_kept)
    with load(haloyd, SHOP) as clients:
        haloyd.submit(identifier(2), "app:one", source=two_kept, **LATE)
        until_checked(haloyd, identifier(2))
        haloyd.submit(identifier(3), "app:two")
        roll_back(haloyd, identifier(0), identifier(4))
        ends = [code_of(haloyd, identifier(number)) for number in (2, 3, 4)]
    assert ends == ["live", "superseded", "live"]
    assert clients.failures == []
    haloyd.until_containers("shop", [f"shop-{identifier(4)}"])
    until_settled(haloyd, *["retired"] * 3, "superseded", "live")
    assert haloyd.get(SHOP) == (200, "one")
    wait_until(
        lambda: tags(haloyd) == {identifier(2), identifier(4)},
        lambda: str(tags(haloyd)),
    )


def test_deploy_while_it_rolls_back(haloyd: Server) -> None:
    """The rollback is carried out, then the deployment; what was between never is."""
    haloyd.deploy(identifier(0), "app:two")
    haloyd.deploy(identifier(1), "app:one")
    with load(haloyd, SHOP) as clients:
        roll_back(haloyd, identifier(0), identifier(2), **LATE)
        until_checked(haloyd, identifier(2))
        roll_back(haloyd, identifier(0), identifier(3))
        haloyd.submit(identifier(4), "app:two", deploymentStrategy="blue_green")
        ends = [code_of(haloyd, identifier(number)) for number in (2, 3, 4)]
    assert ends == ["live", "superseded", "live"]
    assert clients.failures == []
    haloyd.until_containers("shop", [f"shop-{identifier(4)}"])
    until_settled(haloyd, *["retired"] * 3, "superseded", "live")
    assert haloyd.get(SHOP) == (200, "two")


def test_stop_while_it_drains(haloyd: Server, tmp_path: Path) -> None:
    """What only finishes its tunnels is stopped too, and all of it can be removed."""
    build_busy(haloyd.docker, tmp_path)
    haloyd.deploy(identifier(0), "busy:one", volumes=mounts())
    haloyd.until_serves(SHOP, "one")
    with closing(WebSocket(haloyd, SHOP)):
        haloyd.deploy(identifier(1), "busy:two", volumes=mounts())
        old = f"shop-{identifier(0)}"
        wait_until(lambda: haloyd.draining("shop") == {old: 1}, haloyd.daemon.log_text)
        assert stop(haloyd, "remove-containers")[0] == 202
        wait_until(lambda: haloyd.containers("shop") == [], haloyd.daemon.log_text)
    haloyd.daemon.kill()
    haloyd.daemon.start()
    status, text = haloyd.daemon.api("GET", "/v1/apps")
    assert (status, json.loads(text)) == (200, {"apps": []}), text
    assert haloyd.deploy(identifier(2), "app:one")["isDeploymentSuccess"]
    haloyd.until_containers("shop", [f"shop-{identifier(2)}"])
    until_settled(haloyd, "retired", "retired", "live")
