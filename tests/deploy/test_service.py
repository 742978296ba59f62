"""Requests: taken, refused, taken once."""

from __future__ import annotations

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred

from haloy.config.app_file import History, ImageConfig
from haloy.deploy.interface import LogEntry
from haloy.engine.interface import ContainerSpec
from haloy.errors import Conflict, EngineUnavailable, InvalidValue
from tests.deploy.world import ONE, TWO, World


async def test_upper_case_name(server: World) -> None:
    """C{MyApp} is refused when its image would have to be tagged (A15), else not."""
    server.engine.have_image("my:latest")
    image = ImageConfig(repository="my", tag="latest", pull_policy="never")
    with pytest.raises(InvalidValue):
        await server.submit(ONE, "MyApp", image=image)
    end = await server.deploy(
        TWO, "MyApp", image=evolve(image, history=History(strategy="none"))
    )
    assert not end.failed


async def test_docker_hangs_at_submit(server: World) -> None:
    """A POST is answered although Docker is away; the stream says what is wrong."""
    server.engine.failures["containers"] = EngineUnavailable("Docker does not answer")
    end = await server.deploy(ONE)
    assert (end.failed, end.fields["code"]) == (True, "engine-unavailable")


async def test_manual_app(server: World) -> None:
    """An app of hand-made containers refuses a deploy and is not touched (D18)."""
    labels = {
        "dev.haloy.appName": "shop",
        "dev.haloy.deployment-id": "manual-001",
        "dev.haloy.domain.0": "shop.example.com",
    }
    made = await server.engine.create(
        ContainerSpec(name="by-hand", image="shop:latest", labels=labels)
    )
    await server.engine.start(made)
    with pytest.raises(Conflict, match="by-hand"):
        await server.submit(ONE)
    await server.look()
    assert [one.replicas[0].name for one in server.reported[-1]] == ["by-hand"]
    assert await server.running() == ["by-hand"]


async def test_same_id_twice(server: World) -> None:
    """Equal body: one run; another body: refused (A22)."""
    await server.deploy(ONE)
    await server.submit(ONE)
    assert [call for call in server.engine.calls if call.startswith("create")] == [
        f"create shop-{ONE}"
    ]
    with pytest.raises(Conflict):
        await server.submit(ONE, replicas=2)


async def test_what_a_deployment_waits_for(server: World) -> None:
    """Its first line names the deployment that is carried out meanwhile."""

    async def first_line(identifier: str) -> str:
        lines: list[LogEntry] = []

        async def consume(line: LogEntry) -> None:
            lines.append(line)

        following = Deferred.fromCoroutine(server.service.follow(identifier, consume))
        await server.settled(lambda: following.called)
        return lines[0].message

    await server.submit(ONE)
    await server.submit(TWO)
    assert (
        await first_line(TWO) == f"Deployment of shop is queued behind deployment {ONE}"
    )
    assert await first_line(ONE) == "Deployment of shop is queued"


async def test_one_id_for_two_apps(server: World) -> None:
    """(app, id) is the identity: the Go client uses one id for several apps."""
    server.engine.have_image("blog:latest")
    assert not (await server.deploy(ONE)).failed
    end = await server.deploy(ONE, "blog")
    assert (end.app, end.failed) == ("blog", False)
