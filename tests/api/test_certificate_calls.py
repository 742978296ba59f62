"""The calls about certificates, from the client to the real API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.task import deferLater

from haloy.api.agent import client_agent
from haloy.api.certificate_calls import CertificateCalls
from haloy.api.service import ApiListener
from haloy.api.transport import Transport
from haloy.errors import CertificateError, Conflict, InvalidValue, NotFound
from tests.fakes.certificates import FakeCertificates, status
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api

STAR = "*.example.com"


@define
class Scene:
    """A server, and the calls to it."""

    certificates: FakeCertificates
    calls: CertificateCalls


@pytest_twisted.async_yield_fixture
async def scene(reactor: Any, tmp_path: Path) -> AsyncIterator[Scene]:
    certificates = FakeCertificates([status(STAR, fingerprint="ab")])
    database = MemoryDatabase()
    api = make_api(
        reactor,
        tmp_path,
        FakeDeployments(),
        FakeEngine(),
        database,
        certificates=certificates,
    )
    listener = ApiListener(
        reactor, api.resource(), "127.0.0.1:0", tmp_path / "api.sock", api.gate
    )
    await listener.start()
    base_url = f"http://127.0.0.1:{listener.port}"
    agent = client_agent(reactor, "")
    yield Scene(
        certificates,
        CertificateCalls(Transport(reactor, agent, base_url, TOKEN, 10.0)),
    )
    await listener.stop()
    database.close()
    await deferLater(reactor, 0.01)


async def test_every_call(scene: Scene) -> None:
    """A wildcard's star and all."""
    (listed,) = await scene.calls.list()
    assert listed == await scene.calls.show(STAR)
    assert (await scene.calls.renew(STAR))["fingerprint"] == "ab"
    assert scene.certificates.renewed == [STAR]
    assert (await scene.calls.put(STAR, "PEM"))["name"] == STAR
    assert scene.certificates.taken == [(STAR, b"PEM")]


async def test_refusals_are_told_apart(scene: Scene) -> None:
    """The command's exit code depends on it."""
    with pytest.raises(NotFound):
        await scene.calls.show("unknown.example.com")
    scene.certificates.refuse = CertificateError("nobody would")
    with pytest.raises(Conflict, match="nobody would"):
        await scene.calls.renew(STAR)
    with pytest.raises(InvalidValue, match="nobody would"):
        await scene.calls.put(STAR, "PEM")
