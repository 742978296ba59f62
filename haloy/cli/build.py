"""Builds images with the docker command."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from haloy.cli.output import Output
from haloy.config.app_file import ImageConfig
from haloy.config.images import image_ref
from haloy.config.merge import DEFAULT_PLATFORM
from haloy.errors import ConfigError, HaloyError

_FULL = ("no space left on device", "not enough space")


def build_image(image: ImageConfig, folder: Path, output: Output) -> None:
    """Build C{image}; its context is relative to C{folder}.

    @raise ConfigError: context or Dockerfile are not there.
    @raise HaloyError: docker failed; its words are on the terminal.
    """
    build = image.build_config
    context, dockerfile = build_paths(image, folder)
    command = ["docker", "build", "-f", str(dockerfile)]
    command += ["--platform", (build and build.platform) or DEFAULT_PLATFORM]
    values = {}
    for argument in (build.args if build is not None else None) or ():
        # The value goes by the environment: a command line is for all to see.
        command += ["--build-arg", argument.name]
        if argument.value is not None:
            values[argument.name] = argument.value
    command += ["-t", image_ref(image), str(context)]
    output.info(f"Building {image_ref(image)}")
    _run(command, folder, values, output)


def build_paths(image: ImageConfig, folder: Path) -> tuple[Path, Path]:
    """Return context and Dockerfile. @raise ConfigError: one is not there."""
    build = image.build_config
    context = (folder / ((build and build.context) or ".")).resolve()
    dockerfile = context / ((build and build.dockerfile) or "Dockerfile")
    if not context.is_dir():
        raise ConfigError("the build context is no directory", path=str(context))
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
    environment = {**os.environ, **values, **_builder()}
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


def _builder() -> dict[str, str]:
    """Return what makes the build work without the buildx plugin.

    Docker 23 and later build by buildx and fail without it; the classic builder is
    still there when asked for.
    """
    if "DOCKER_BUILDKIT" in os.environ:
        return {}
    asked = subprocess.run(
        ["docker", "buildx", "version"], capture_output=True, check=False
    )
    return {} if asked.returncode == 0 else {"DOCKER_BUILDKIT": "0"}
