"""When C{deploy.readiness} says yes, and what it says otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from haloy.deploy.readiness import FIRST_S, ReadinessCheck, next_wait_s
from haloy.engine.interface import (
    Container,
    ContainerSpec,
    ContainerState,
    HealthState,
)
from haloy.errors import DeployFailed
from haloy.health.probe import prober
from haloy.model.app import HealthCheck
from haloy.proxy.http2.asking import ask
from tests.fakes.engine import FakeEngine

NOW = datetime(2026, 11, 24, tzinfo=UTC)


@define(eq=False, slots=False)
class Answering(Protocol):
    statuses: list[int]

    def dataReceived(self, data: bytes) -> None:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.transport.write(b"HTTP/1.1 %d x\r\n\r\n" % status)  # type: ignore[union-attr]  # connected


@define(eq=False)
class Scene:
    """A container on the host's network, so that its address is loopback."""

    reactor: Any
    engine: FakeEngine = field(factory=FakeEngine)
    statuses: list[int] = field(factory=lambda: [200])
    port: Any = None
    container: str = ""

    async def start(self) -> None:
        factory = Factory.forProtocol(lambda: Answering(self.statuses))
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.engine.have_image("shop:1")
        spec = ContainerSpec("shop-1", "shop:1", network="host")
        self.container = await self.engine.create(spec)
        await self.engine.start(self.container)

    async def check(self, timeout_s: float = 5, port: int = 0, **check: Any) -> None:
        readiness = ReadinessCheck(self.engine, self.reactor, lambda: NOW, prober(ask))
        wanted = port or self.port.getHost().port
        await readiness.until_healthy(
            self.container, HealthCheck(**check), wanted, "haloy", timeout_s
        )

    async def change(self, **values: Any) -> None:
        container = await self.engine.container(self.container)
        self.engine._put(evolve(container, **values))


@pytest_twisted.async_yield_fixture
async def scene(reactor: Any) -> AsyncIterator[Scene]:
    found = Scene(reactor)
    await found.start()
    yield found
    await found.port.stopListening()


async def failure(scene: Scene, **arguments: Any) -> DeployFailed:
    with pytest.raises(DeployFailed) as caught:
        await scene.check(**arguments)
    return caught.value


async def test_healthy_at_once(scene: Scene) -> None:
    """The first probe goes out without a wait."""
    began = scene.reactor.seconds()
    await scene.check()
    assert scene.reactor.seconds() - began < 0.5


async def test_healthy_after_a_while(scene: Scene) -> None:
    """A starting app is asked again within a moment."""
    scene.statuses[:] = [503, 503, 503, 200]
    await scene.check()


async def test_never_healthy(scene: Scene) -> None:
    """The reason and the last output come along."""
    scene.statuses[:] = [500]
    scene.engine.output["shop-1"] = b"boom\n"
    found = await failure(scene, timeout_s=0.2, path="/h")
    assert found.failure == "health-check"
    assert "shop-1: it was not healthy within 0.2 s: /h answered 500" in str(found)
    assert found.logs == "boom"


async def test_exited(scene: Scene) -> None:
    """A container that ends is not waited for."""
    scene.engine.crash(scene.container, exit_code=3)
    found = await failure(scene, timeout_s=30)
    assert (found.failure, "code 3" in str(found)) == ("exited", True)


async def test_out_of_memory(scene: Scene) -> None:
    """OOM has a name and a way out."""
    scene.engine.crash(scene.container, oom=True)
    found = await failure(scene, timeout_s=30)
    assert found.failure == "oom"
    assert "resources.memory" in str(found)


async def test_vanished(scene: Scene) -> None:
    """Somebody removed it meanwhile."""
    await scene.engine.remove(scene.container)
    assert (await failure(scene)).failure == "vanished"


async def test_restarted_by_docker(scene: Scene) -> None:
    """D3: a first run that ended is a failure though the second one runs."""
    scene.statuses[:] = [500]
    readiness = scene.check(timeout_s=5)
    running = Deferred.fromCoroutine(readiness)
    await scene.change(restarts=1, exit_code=1)
    with pytest.raises(DeployFailed, match="exited with code 1"):
        await running


async def test_docker_healthcheck_decides(scene: Scene) -> None:
    """The image's own HEALTHCHECK is asked instead of HTTP."""
    scene.statuses[:] = [500]
    await scene.change(health=HealthState.HEALTHY)
    await scene.check()
    await scene.change(health=HealthState.UNHEALTHY, health_output="no database")
    found = await failure(scene, timeout_s=0.1)
    assert "HEALTHCHECK says unhealthy: no database" in str(found)


async def test_unreachable_network(scene: Scene) -> None:
    """An app that cannot be reached fails with the reason (D5)."""
    await scene.change(network_mode="none")
    found = await failure(scene, timeout_s=0.1)
    assert "no network" in str(found)


async def test_min_ready_seconds(scene: Scene) -> None:
    """It must still be the same run when the window is over."""
    await scene.change(started_at=NOW)
    began = scene.reactor.seconds()
    await scene.check(min_ready_s=1)
    assert scene.reactor.seconds() - began >= 0.9
    running = Deferred.fromCoroutine(scene.check(min_ready_s=1))
    scene.reactor.callLater(0.2, scene.engine.crash, scene.container)
    with pytest.raises(DeployFailed, match="exited"):
        await running


def test_waits_are_short_at_first() -> None:
    """What listens after 15 ms serves after 30; what takes long is asked seldom."""
    waits, elapsed_s = [FIRST_S], 0.0
    while elapsed_s < 10:
        elapsed_s += waits[-1]
        waits.append(next_wait_s(waits[-1], elapsed_s))
    assert waits[:5] == [0.01, 0.02, 0.04, 0.05, 0.05]
    assert waits[-1] == 1.0
    assert waits == sorted(waits)


async def test_paused(scene: Scene) -> None:
    """It has not exited: it is waited for, and the reason says what it is."""
    await scene.change(state=ContainerState.PAUSED)
    problem = await failure(scene, timeout_s=0.1)
    assert problem.failure == "health-check"
    assert "it is paused" in problem.reason
    scene.reactor.callLater(0.1, scene.engine._put, await running(scene))
    await scene.check()


async def test_paused_in_min_ready_seconds(scene: Scene) -> None:
    """What is paused at the end of the window gets no traffic."""
    await scene.change(started_at=NOW)
    paused = evolve(await running(scene), state=ContainerState.PAUSED)
    scene.reactor.callLater(0.2, scene.engine._put, paused)
    problem = await failure(scene, min_ready_s=1)
    assert "it is paused" in problem.reason


async def running(scene: Scene) -> Container:
    container = await scene.engine.container(scene.container)
    return evolve(container, state=ContainerState.RUNNING)
