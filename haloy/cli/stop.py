"""C{haloy stop}."""

from __future__ import annotations

import sys
from typing import Any

import click

from haloy.cli.context import client_for, limit_option, load_project, target_options
from haloy.cli.exits import exit_code_of_several
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.errors import HaloyError


@click.command()
@target_options
@limit_option
@click.option("-r", "--remove-containers", is_flag=True, help="Remove them too.")
@click.option("--remove-volumes", is_flag=True, help="Remove the app's volumes too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def stop(
    config: str,
    names: tuple[str, ...],
    everything: bool,
    limit_s: float,
    remove_containers: bool,
    remove_volumes: bool,
    yes: bool,
) -> None:
    """Stop the app of this folder. Its data stays unless you say otherwise."""
    if remove_volumes and not remove_containers:
        raise click.UsageError("--remove-volumes needs --remove-containers")
    output = Output()
    project = load_project(config)
    chosen = project.select(names, everything)
    if remove_volumes and not yes:
        apps = ", ".join(one.app for one in chosen)
        if not sys.stdin.isatty():
            raise click.UsageError("--remove-volumes needs --yes without a terminal")
        click.confirm(f"Delete the volumes of {apps} with all their data?", abort=True)
    problems: list[HaloyError] = []

    async def carry_out(reactor: Any) -> None:
        for one in chosen:
            client = client_for(reactor, project, one, limit_s)
            try:
                await client.stop(one.app, remove_containers, remove_volumes)
            except HaloyError as problem:
                problems.append(problem)
                output.error(str(problem), one.name if len(chosen) > 1 else "")
            else:
                output.success(f"{one.app} on {one.server} is being stopped")
                output.info("`haloy status` shows when it has stopped")

    run(carry_out)
    raise SystemExit(exit_code_of_several(problems, len(chosen)))
