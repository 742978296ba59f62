"""Have the image of a deployment here, tagged, and fit for this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from haloy.config.app_file import ImageConfig
from haloy.config.images import image_ref, registry_server
from haloy.deploy.discovery import port_problem
from haloy.deploy.images import Source, keeps_history, run_ref, source_of
from haloy.engine.interface import Container, ContainerState, Credentials, Engine, Image
from haloy.errors import (
    DeployFailed,
    EngineUnavailable,
    HaloyError,
    InsufficientStorage,
    NotFound,
    Unauthorized,
)
from haloy.model.names import AppName, DeploymentId

#: What is told about a pull, at most, for each of so many bytes.
PROGRESS_STEP_BYTES = 16 << 20

Say = Callable[[str, Mapping[str, str]], None]
Stored = Callable[[str], Credentials | None]


async def obtain_image(
    engine: Engine,
    app: AppName,
    deployment: DeploymentId,
    config: ImageConfig,
    stored: Stored,
    say: Say,
) -> tuple[str, Image]:
    """Return the reference to run and its image.

    @param stored: the daemon's own login at a registry, asked for unless the
        target brings one.
    @raise DeployFailed: C{image-not-found}, C{bad-credentials}, C{pull}, C{platform}.
    @raise InsufficientStorage: Docker's disk is full.
    """
    ref = image_ref(config)
    image = await _have(engine, ref, config, stored, say)
    await _fit(engine, ref, image)
    if keeps_history(config):
        await engine.tag(ref, run_ref(app, deployment, config))
    return run_ref(app, deployment, config), image


async def _have(
    engine: Engine, ref: str, config: ImageConfig, stored: Stored, say: Say
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
    return await _pull(engine, ref, login, say)


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


async def _pull(engine: Engine, ref: str, login: Credentials | None, say: Say) -> Image:
    say("Pulling image", {"image": ref, "auth": "registry" if login else "none"})
    told = 0

    def progress(step: object) -> None:
        nonlocal told
        done = getattr(step, "bytes_done", 0)
        if done - told >= PROGRESS_STEP_BYTES:
            told = done
            total = getattr(step, "bytes_total", 0)
            say(f"Pulled {done >> 20} of {total >> 20} MiB", {"image": ref})

    try:
        return await engine.pull(ref, login, progress)
    except NotFound as problem:
        raise DeployFailed(str(problem), failure="image-not-found") from problem
    except Unauthorized as problem:
        raise DeployFailed(str(problem), failure="bad-credentials") from problem
    except (EngineUnavailable, InsufficientStorage):
        raise
    except HaloyError as problem:
        raise DeployFailed(
            f"pulling {ref} failed: {problem}{_hint(str(problem))}", failure="pull"
        ) from problem


def _hint(problem: str) -> str:
    text = problem.lower()
    if "toomanyrequests" in text or "rate limit" in text:
        return "; log in with `haloy server registry login`, or wait"
    return ""


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
