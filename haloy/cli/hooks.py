"""Hooks: commands of the user's own, before and after a deployment."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from haloy.cli.output import Output
from haloy.errors import ConfigError, HaloyError


def run_hooks(
    hooks: tuple[str, ...] | None,
    key: str,
    folder: Path,
    variables: Mapping[str, str],
    output: Output,
) -> None:
    """Run the commands one after another; their output goes to the terminal.

    @raise ConfigError: a command is empty.
    @raise HaloyError: one failed; the ones behind it did not run.
    """
    for number, hook in enumerate(hooks or ()):
        if not hook.strip():
            raise ConfigError(f"{key}[{number}] is an empty command")
        output.info(f"{key}: {hook}")
        shell = os.environ.get("SHELL") or shutil.which("bash") or "sh"
        done = subprocess.run(
            [shell, "-c", hook],
            cwd=folder,
            env={**os.environ, **variables},
            check=False,
        )
        if done.returncode:
            raise HaloyError(
                f"{key}[{number}] `{hook}` failed with exit code {done.returncode}"
            )
