"""C{haloy version}."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Any

import click

from haloy.cli.options import output_options
from haloy.cli.output import Output

#: Where a newer version would be: the package index, as pip knows it.
INDEX_LIMIT_S = 30.0


def installed() -> str:
    """Return the version of this command."""
    return installed_version("haloy")


@click.command("version")
@click.option(
    "--check", is_flag=True, help="Ask the package index for a newer version."
)
@output_options
def version_(check: bool, output: Output) -> None:
    """Print the version of this command."""
    told: dict[str, Any] = {"version": installed()}
    if check:
        told["latest"] = newest()
    if output.as_json:
        output.json(told)
        return
    output.line(told["version"])
    if check:
        _compare(told["version"], told["latest"], output)


def newest() -> str | None:
    """Return the newest version that pip's index has, C{None}: not known."""
    import subprocess  # noqa: PLC0415  (only --check pays)
    import sys  # noqa: PLC0415

    command = [sys.executable, "-m", "pip", "index", "versions", "haloy"]
    try:
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--no-input"],
            capture_output=True,
            text=True,
            timeout=INDEX_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = done.stdout.partition("(")[2].partition(")")[0]
    return found if not done.returncode and found else None


def _compare(own: str, latest: str | None, output: Output) -> None:
    if latest is None:
        output.info("the package index could not be asked, or has no haloy")
    elif latest == own:
        output.success("this is the newest version")
    else:
        output.success(f"update available: {own} -> {latest}")
