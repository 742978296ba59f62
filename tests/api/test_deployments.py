"""Past, running and waiting deployments, through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from haloy.config.diff import Change
from haloy.deploy.interface import DeploymentDetail, DeploymentRecord, DeploymentState
from haloy.model.names import AppName, DeploymentId
from tests.api.test_server import Server
from tests.fakes.deployments import NOW


def detail(seq: int, app: str, state: str) -> DeploymentDetail:
    record = DeploymentRecord(
        seq,
        AppName(app),
        DeploymentId(f"01aaaaaa{seq}"),
        DeploymentState(state),
        f"{app}:1",
        "ci",
        None,
        "exited" if state == "failed" else "",
        "it exited" if state == "failed" else "",
        NOW,
        None if state == "queued" else NOW,
    )
    changes = (Change("replicas", "1", "2"),)
    config = {"name": app}
    return DeploymentDetail(record, DeploymentId("01before"), changes, config)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    found.deployments.past = [
        detail(3, "shop", "queued"),
        detail(2, "blog", "failed"),
        detail(1, "shop", "live"),
    ]
    yield found
    found.database.close()


def listed(server: Server, query: str = "", **headers: str) -> list[int]:
    answer = server.ask("GET", f"/v1/deployments{query}", **headers)
    assert answer.status == 200, answer.text
    return [one["seq"] for one in answer.json["deployments"]]


def test_list(server: Server) -> None:
    """Newest first, of all or of one app, page by page."""
    assert listed(server) == [3, 2, 1]
    assert listed(server, "?app=shop") == [3, 1]
    assert listed(server, "?limit=1") == [3]
    assert listed(server, "?before=3") == [2, 1]
    assert listed(server, "?app=nobody&limit=") == []
    for odd in ("limit=x", "limit=-1", "limit=1e9", "before=" + "9" * 30):
        refused = server.ask("GET", f"/v1/deployments?{odd}")
        assert refused.status == 400
        assert refused.text.startswith(f"{odd.split('=')[0]}: must be a whole number")
    _, failed, _ = server.ask("GET", "/v1/deployments").json["deployments"]
    assert failed == {
        "seq": 2,
        "appName": "blog",
        "deploymentId": "01aaaaaa2",
        "state": "failed",
        "image": "blog:1",
        "askedBy": "ci",
        "createdAt": "2026-11-24T10:00:00Z",
        "finishedAt": "2026-11-24T10:00:00Z",
        "failure": "exited",
        "reason": "it exited",
    }


def test_list_of_an_app_that_cannot_be(server: Server) -> None:
    """The field is named; an empty list would say that it was never deployed."""
    refused = server.ask("GET", "/v1/deployments?app=-x")
    assert (refused.status, refused.text.partition(":")[0]) == (400, "app")


def test_token_of_one_app_sees_its_own(server: Server) -> None:
    """The list is cut to what it may see, the rest is refused."""
    body = {"name": "ci", "scopes": ["deploy"], "apps": ["blog"]}
    token = server.ask("POST", "/v1/tokens", body).json["token"]
    answer = server.ask("GET", "/v1/deployments", token=token)
    assert [one["seq"] for one in answer.json["deployments"]] == [2]
    for method, path in (
        ("GET", "/v1/deployments?app=shop"),
        ("GET", "/v1/deployments/shop/01aaaaaa3"),
        ("POST", "/v1/deployments/shop/01aaaaaa3/cancel"),
    ):
        assert server.ask(method, path, token=token).status == 403


def test_one_with_its_changes(server: Server) -> None:
    """What it changed of what served before."""
    found = server.ask("GET", "/v1/deployments/shop/01aaaaaa1").json
    assert found["comparedWith"] == "01before"
    assert found["config"] == {"name": "shop"}
    assert found["changes"] == [{"key": "replicas", "before": "1", "after": "2"}]
    assert server.ask("GET", "/v1/deployments/shop/01aaaaaa2").status == 404


def test_cancel(server: Server) -> None:
    """Only what waits can be taken back; it is written down who did."""
    path = "/v1/deployments/shop/01aaaaaa{}/cancel"
    assert server.ask("POST", path.format(3)).status == 202
    assert server.ask("POST", path.format(1)).status == 409
    assert server.ask("POST", path.format(9)).status == 404
    assert server.deployments.cancelled == [("shop", "01aaaaaa3", "env")]
    actions = server.ask("GET", "/v1/audit").json["actions"]
    assert [(one["action"], one["result"]) for one in actions] == [
        ("deploy.cancel", "not-found"),
        ("deploy.cancel", "conflict"),
        ("deploy.cancel", "ok"),
    ]
