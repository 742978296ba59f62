"""Going back."""

from __future__ import annotations

from attrs import evolve

from haloy.config.app_file import ImageConfig
from haloy.model.names import AppName, DeploymentId
from tests.deploy.world import ONE, THREE, TWO, World, request


async def test_rollback(server: World) -> None:
    """A rollback runs the image of then under a new id."""
    await server.deploy(ONE)
    server.engine.have_image("shop:latest", image_id="sha256:two")
    await server.deploy(TWO)
    (target,) = await server.service.rollback_targets(AppName("shop"))
    assert (target.id, target.image_ref) == (ONE, f"shop:{ONE}")
    wanted = evolve(request(ONE).target, image=ImageConfig(repository="shop", tag=ONE))
    asked = await server.service.rollback_request(
        DeploymentId(ONE), DeploymentId(THREE), wanted, "me"
    )
    await server.service.submit(asked)
    end = await server.end_of(THREE)
    assert not end.failed
    newest = [one for one in await server.containers() if THREE in one.name]
    assert newest[0].image_id == "sha256:one"
