"""Pushes images to registries with the docker command."""

from __future__ import annotations

import subprocess

from haloy.cli.output import Output
from haloy.config.app_file import ImageConfig, ValueSource
from haloy.config.images import image_ref, registry_server
from haloy.errors import ConfigError, HaloyError


def push_image(image: ImageConfig, output: Output) -> None:
    """Log in where the image says how, and push it.

    @raise ConfigError: user or password are empty.
    @raise HaloyError: docker failed; its words are in the text.
    """
    ref = image_ref(image)
    registry = image.registry
    if registry is not None:
        server = registry.server or registry_server(image.repository or "")
        _log_in(server, _value(registry.username), _value(registry.password))
    output.info(f"Pushing {ref}")
    done = _docker("push", ref)
    if done.returncode:
        raise HaloyError(f"docker push {ref} failed: {_said(done)}{_hint(done)}")
    lines = done.stdout.splitlines()
    present = sum("already exists" in line or "Mounted from" in line for line in lines)
    pushed = sum(line.rstrip().endswith(": Pushed") for line in lines)
    output.info(f"{ref}: {pushed} layers pushed, {present} were there already")


def _value(source: ValueSource | None) -> str:
    return (source.value if source is not None else None) or ""


def _log_in(server: str, username: str, password: str) -> None:
    for name, value in (("username", username), ("password", password)):
        if not value:
            raise ConfigError(f"image.registry.{name} is empty")
    done = _docker(
        "login", server, "--username", username, "--password-stdin", stdin=password
    )
    if done.returncode:
        raise HaloyError(f"docker login {server} failed: {_said(done)}")


def _docker(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip() or f"exit code {done.returncode}"


def _hint(done: subprocess.CompletedProcess[str]) -> str:
    said = done.stderr.lower()
    if "denied" in said or "unauthorized" in said or "no basic auth" in said:
        return "; check image.registry, or log in with `docker login`"
    if "not found" in said or "does not exist" in said:
        return "; does the repository exist there?"
    return ""
