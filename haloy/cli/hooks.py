"""Hooks: commands of the user's own, before and after a deployment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
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
    prefix: str = "",
) -> None:
    """Run the commands one after another; their output goes to the terminal.

    With C{prefix} each line of it is marked: several targets have theirs at once.

    @raise ConfigError: a command is empty.
    @raise HaloyError: one failed; the ones behind it did not run.
    """
    for number, hook in enumerate(hooks or ()):
        if not hook.strip():
            raise ConfigError(f"{key}[{number}] is an empty command")
        output.info(f"{key}: {hook}", prefix)
        code = _run(hook, folder, {**os.environ, **variables}, output, prefix)
        if code:
            raise HaloyError(f"{key}[{number}] `{hook}` failed with exit code {code}")


def _run(
    hook: str, folder: Path, environment: dict[str, str], output: Output, prefix: str
) -> int:
    shell = os.environ.get("SHELL") or shutil.which("bash") or "sh"
    command = [shell, "-c", hook]
    if not prefix:
        # stdout is for the one JSON document, where that is wanted.
        to = sys.stderr.fileno() if output.as_json else None
        return subprocess.run(
            command, cwd=folder, env=environment, check=False, stdout=to
        ).returncode
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            output.line(line.rstrip("\n"), prefix)
    return process.returncode
