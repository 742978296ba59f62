"""The description of the API holds for what the API does, whatever is sent to it."""

from __future__ import annotations

import json
import os
import urllib.request
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import pytest_twisted
import schemathesis
from attrs import define, evolve, field
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode
from twisted.internet.threads import deferToThread

from haloy.api import auth
from haloy.api.auth import RateLimit, token_hash
from haloy.api.catalogue import ROUTES
from haloy.api.gatekeeper import Gatekeeper
from haloy.api.openapi import openapi
from haloy.api.service import ApiListener
from haloy.config.app_file import Target
from haloy.deploy.interface import RollbackTarget
from haloy.engine.interface import ContainerSpec
from haloy.model.names import DeploymentId
from haloy.store.database import Database
from tests.api.test_deployments import detail
from tests.api.test_server import ID, hello, replica
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api

#: C{HALOY_EXAMPLES} and C{HALOY_SEEDS} make the run longer than in CI.
EXAMPLES = int(os.environ.get("HALOY_EXAMPLES", "12"))
SEEDS = int(os.environ.get("HALOY_SEEDS", "1"))
NOW = datetime(2026, 11, 24, tzinfo=UTC)

#: They follow for ever, or the connection leaves HTTP: tested by name elsewhere.
ENDLESS = {
    ("GET", "/v1/deploy/{deployment}/logs"),
    ("GET", "/v1/events"),
    ("GET", "/v1/exec/{app}"),
    ("GET", "/v1/logs/{app}"),
    ("GET", "/v1/server-logs"),
    ("POST", "/v1/tunnel/{app}"),
}
#: Not what this API promises: a body may fit its schema and break a rule that no
#: schema can say (400), and the Go daemon ignores queries that it cannot read.
LEFT_OUT = {"positive_data_acceptance", "negative_data_rejection"}


@define(eq=False)
class Described:
    """The API on a real socket, over fakes with one app."""

    reactor: Any
    folder: Path
    deployments: FakeDeployments = field(factory=FakeDeployments)
    engine: FakeEngine = field(factory=FakeEngine)
    database: MemoryDatabase = field(factory=MemoryDatabase)
    listener: Any = None

    async def start(self) -> None:
        self.engine.have_image("hello:1")
        spec = ContainerSpec("hello-1", "hello:1", network="host")
        made = await self.engine.create(spec)
        await self.engine.start(made)
        one = evolve(replica(1), container_id=made)
        self.deployments.known["hello"] = hello(one)
        kept = RollbackTarget(DeploymentId(ID), f"hello:{ID}", {"name": "hello"})
        self.deployments.kept["hello"] = (kept,)
        self.deployments.past = [detail(1, "hello", "queued")]
        gatekeeper = Gatekeeper(
            cast(Database, self.database),
            self.reactor,
            lambda: NOW,
            token_hash(TOKEN),
        )
        gatekeeper._rate = gatekeeper._layer_rate = RateLimit(1e9, 1e9)
        api = make_api(
            self.reactor,
            self.folder,
            self.deployments,
            self.engine,
            self.database,
            gatekeeper=gatekeeper,
        )
        self.listener = ApiListener(
            self.reactor, api.resource(), "127.0.0.1:0", self.folder / "s", api.gate
        )
        await self.listener.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.port}"

    def get(self, path: str) -> Any:
        """Return the JSON at C{path}; in a thread."""
        request = urllib.request.Request(
            self.url + path, headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest_twisted.async_yield_fixture
async def described(
    reactor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Described]:
    monkeypatch.setattr(auth, "FAILURES_LIMIT", 10**9)
    found = Described(reactor, tmp_path)
    await found.start()
    yield found
    await found.listener.stop()
    found.database.close()


def test_document_is_openapi() -> None:
    """Every reference leads somewhere, every schema is one, nothing is said twice."""
    document = openapi("1.2.3")
    names = set(document["components"]["schemas"])
    text = json.dumps(document)
    for part in text.split('"#/components/schemas/')[1:]:
        assert part.partition('"')[0] in names
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    operations = [
        one["operationId"]
        for path in document["paths"].values()
        for one in path.values()
    ]
    assert len(set(operations)) == len(operations) == len(ROUTES)
    assert set(Target.__annotations__) >= {"replicas"}
    target = document["components"]["schemas"]["Target"]["properties"]
    assert {"replicas", "deploymentStrategy", "healthCheckPath"} <= set(target)


async def test_it_is_served(described: Described) -> None:
    """As it is made."""
    found = await deferToThread(described.get, "/v1/openapi.json")
    assert found == json.loads(json.dumps(openapi("1.2.3")))


def operations(document: Mapping[str, Any], url: str) -> list[Any]:
    schema = schemathesis.openapi.from_dict(dict(document))
    schema.config.update(base_url=url)
    found: list[Any] = [cast(Any, one).ok() for one in schema.get_all_operations()]
    return [one for one in found if (one.method.upper(), one.path) not in ENDLESS]


def attack(operation: Any, number: int) -> int:
    """Send examples of one operation; return how many. In a thread."""
    excluded = schemathesis.checks.CHECKS.get_by_names(sorted(LEFT_OUT))
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query or operation.path_parameters:
        modes.append(GenerationMode.NEGATIVE)
    sent = 0

    @seed(number)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data(), st.booleans(), st.sampled_from(modes))
    def run(data: Any, known: bool, mode: GenerationMode) -> None:
        nonlocal sent
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if known and "app" in (case.path_parameters or {}):
            case.path_parameters["app"] = "hello"
        sent += 1
        headers = {"Authorization": f"Bearer {TOKEN}"}
        case.call_and_validate(headers=headers, excluded_checks=excluded, timeout=10)

    run()
    return sent


@pytest.mark.slow
async def test_whatever_is_sent(described: Described) -> None:
    """No 5xx but those described, no answer of another kind, no way around a token."""
    document = await deferToThread(described.get, "/v1/openapi.json")
    for operation in operations(document, described.url):
        for number in range(SEEDS):
            sent = await deferToThread(attack, operation, number)
            assert sent > 0, operation.path
