"""Builds images with the docker command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from attrs import frozen

from haloy.cli.output import Output
from haloy.config.app_file import ImageConfig
from haloy.config.images import image_ref
from haloy.config.merge import DEFAULT_PLATFORM
from haloy.errors import ConfigError, HaloyError

_FULL = ("no space left on device", "not enough space")


@frozen
class BuildOptions:
    """What the command line says about building."""

    skip: bool = False
    no_cache: bool = False
    pull: bool = False


def build_image(
    image: ImageConfig,
    folder: Path,
    output: Output,
    options: BuildOptions = BuildOptions(),
) -> None:
    """Build C{image}; its context is relative to C{folder}.

    @raise ConfigError: context or Dockerfile are not there.
    @raise HaloyError: docker failed; its words are on the terminal.
    """
    build = image.build_config
    context, dockerfile = build_paths(image, folder)
    buildx = has_buildx()
    command = ["docker", "buildx", "build"] if buildx else ["docker", "build"]
    command += ["-f", str(dockerfile)]
    command += ["--platform", (build and build.platform) or DEFAULT_PLATFORM]
    values = {}
    for argument in (build.args if build is not None else None) or ():
        # The value goes by the environment: a command line is for all to see.
        command += ["--build-arg", argument.name]
        if argument.value is not None:
            values[argument.name] = argument.value
    command += _caching(image, options, buildx)
    command += ["-t", image_ref(image), str(context)]
    output.info(f"Building {image_ref(image)}")
    _run(command, folder, {**values, **_builder(buildx)}, output)


def _caching(image: ImageConfig, options: BuildOptions, buildx: bool) -> list[str]:
    build = image.build_config
    words = ["--no-cache"] if options.no_cache else []
    words += ["--pull"] if options.pull else []
    for source in (build and build.cache_from) or ():
        words += ["--cache-from", source]
    for place in (build and build.cache_to) or ():
        if not buildx:
            raise ConfigError(
                "image.build_config.cache_to needs docker buildx, which is not here"
            )
        words += ["--cache-to", place]
    # A builder in a container would keep to itself what it has built.
    return [*words, "--load"] if buildx else words


def build_paths(image: ImageConfig, folder: Path) -> tuple[Path, Path]:
    """Return context and Dockerfile. @raise ConfigError: one is not there."""
    build = image.build_config
    context = (folder / ((build and build.context) or ".")).resolve()
    dockerfile = context / ((build and build.dockerfile) or "Dockerfile")
    if not context.is_dir():
        raise ConfigError("the build context is not a directory", path=str(context))
    if not dockerfile.is_file():
        raise ConfigError("there is no Dockerfile here", path=str(dockerfile))
    return context, dockerfile


def check_docker(refs: list[str]) -> None:
    """@raise HaloyError: docker cannot build now."""
    try:
        done = subprocess.run(
            ["docker", "info", "--format", "{{.ServerVersion}}"],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise HaloyError(
            f"docker is not installed, and {', '.join(refs)} must be built"
        ) from None
    if done.returncode:
        said = done.stderr.strip() or "it does not answer"
        raise HaloyError(f"docker cannot build {', '.join(refs)}: {said}")


def _run(
    command: list[str], folder: Path, values: dict[str, str], output: Output
) -> None:
    environment = {**os.environ, **values}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    last: list[str] = []
    with process:
        for line in process.stdout or ():
            last = [*last[-40:], line]
            if not output.quiet and not output.as_json:
                output.line(line.rstrip("\n"))
    if process.returncode:
        text = "".join(last)
        hint = ""
        if any(word in text.lower() for word in _FULL):
            hint = "; this machine's disk is full: `docker system prune` frees space"
        if output.quiet or output.as_json:
            output.error(text)
        raise HaloyError(f"docker build failed (exit code {process.returncode}){hint}")


def has_buildx() -> bool:
    """Return whether to build by the buildx plugin: it is there and not refused."""
    if os.environ.get("DOCKER_BUILDKIT") == "0":
        return False
    asked = subprocess.run(
        ["docker", "buildx", "version"], capture_output=True, check=False
    )
    return asked.returncode == 0


def _builder(buildx: bool) -> dict[str, str]:
    """Return what makes the build work without the buildx plugin.

    Docker 23 and later build by buildx and fail without it; the classic builder is
    still there when asked for.
    """
    if buildx or "DOCKER_BUILDKIT" in os.environ:
        return {}
    return {"DOCKER_BUILDKIT": "0"}
