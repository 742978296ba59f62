"""Have the image of a deployment here, tagged, and fit for this machine."""

from __future__ import annotations

from collections.abc import Callable

from haloy.config.app_file import ImageConfig
from haloy.config.images import image_ref, registry_server
from haloy.deploy.discovery import port_problem
from haloy.deploy.images import Source, keeps_history, run_ref, source_of
from haloy.deploy.pulling import UNSEEN, DockerDisk, Say, pull_image
from haloy.engine.interface import Container, ContainerState, Credentials, Engine, Image
from haloy.errors import (
    DeployFailed,
    EngineUnavailable,
    HaloyError,
)
from haloy.model.names import AppName, DeploymentId

Stored = Callable[[str], Credentials | None]


async def obtain_image(
    engine: Engine,
    app: AppName,
    deployment: DeploymentId,
    config: ImageConfig,
    stored: Stored,
    say: Say,
    disk: DockerDisk = UNSEEN,
) -> tuple[str, Image]:
    """Return the reference to run and its image.

    @param stored: the daemon's own login at a registry, asked for unless the
        target brings one.
    @param disk: what is looked at before and in a pull.
    @raise DeployFailed: C{image-not-found}, C{bad-credentials}, C{pull}, C{platform}.
    @raise InsufficientStorage: Docker's disk is full, or too small for the image.
    """
    ref = image_ref(config)
    image = await _have(engine, ref, config, stored, say, disk)
    await _fit(engine, ref, image)
    if keeps_history(config):
        await engine.tag(ref, run_ref(app, deployment, config))
    return run_ref(app, deployment, config), image


async def _have(
    engine: Engine,
    ref: str,
    config: ImageConfig,
    stored: Stored,
    say: Say,
    disk: DockerDisk,
) -> Image:
    local = await engine.image(ref)
    source = source_of(config)
    if source is Source.LOCAL:
        if local is None:
            raise DeployFailed(
                f"image {ref} is not on the server: it is built and uploaded by "
                "`haloy deploy`, or pull_policy is never",
                failure="image-not-found",
            )
        return local
    if local is not None and source is Source.USE_OR_PULL:
        return local
    login = credentials(config) or stored(registry_server(config.repository or ""))
    if local is not None and await _is_current(engine, ref, local, login, say):
        return local
    return await pull_image(engine, ref, login, say, disk)


async def _is_current(
    engine: Engine, ref: str, local: Image, login: Credentials | None, say: Say
) -> bool:
    """Return whether the registry has nothing else under C{ref}."""
    try:
        digest = await engine.registry_digest(ref, login)
    except EngineUnavailable:
        raise
    except HaloyError as problem:
        say(
            f"The registry does not say what {ref} is; the image on the server is used",
            {"error": str(problem)},
        )
        return True
    return any(one.endswith(f"@{digest}") for one in local.digests)


async def _fit(engine: Engine, ref: str, image: Image) -> None:
    """@raise DeployFailed: the image is for another kind of machine."""
    here = (await engine.info()).architecture
    if image.architecture and here and image.architecture != here:
        raise DeployFailed(
            f"image {ref} is for {image.architecture}, this server is {here}; "
            f"set build_config.platform: linux/{here}",
            failure="platform",
        )


def refuse_port(container: Container, port: int) -> None:
    """@raise DeployFailed: the image exposes ports, and C{port} is none of them."""
    problem = port_problem(container, port)
    if problem and container.state is not ContainerState.DEAD:
        raise DeployFailed(f"{container.name}: {problem}", failure="port-mismatch")


def credentials(config: ImageConfig) -> Credentials | None:
    """Return the login that the target itself gives."""
    registry = config.registry
    if registry is None or registry.username is None or registry.password is None:
        return None
    return Credentials(
        server=registry.server or registry_server(config.repository or ""),
        username=registry.username.value or "",
        password=registry.password.value or "",
    )
