"""C{haloy stop}."""

from __future__ import annotations

import sys
from typing import Any

import click

from haloy.cli.asking import confirm
from haloy.cli.context import Selected, choose, client_for, failed_of
from haloy.cli.exits import exit_code_of_several
from haloy.cli.failing import said
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.errors import HaloyError


@click.command("stop")
@app_options
@click.option(
    "-r", "--remove-containers", is_flag=True, help="Remove the containers, too."
)
@click.option("--remove-volumes", is_flag=True, help="Remove the app's volumes, too.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@output_options
def stop_(
    selection: Selection,
    remove_containers: bool,
    remove_volumes: bool,
    yes: bool,
    output: Output,
) -> None:
    """Stop the app of this folder. Its data stays unless you say otherwise."""
    if remove_volumes and not remove_containers:
        raise click.UsageError("--remove-volumes needs --remove-containers")
    project, chosen = choose(selection)
    if remove_volumes and not yes:
        apps = ", ".join(f"{one.app} on {one.server}" for one in chosen)
        if not sys.stdin.isatty():
            raise click.UsageError("--remove-volumes needs --yes without a terminal")
        confirm(f"Delete the volumes of {apps} with all their data?")

    async def carry_out(reactor: Any) -> list[HaloyError | None]:
        return await together(
            client_for(reactor, project, one, selection.limit_s).stop(
                one.app, remove_containers, remove_volumes
            )
            for one in chosen
        )

    answers = run(carry_out)
    if output.as_json:
        output.json(
            [_report(one, found) for one, found in zip(chosen, answers, strict=True)]
        )
    for one, found in zip(chosen, answers, strict=True):
        if isinstance(found, HaloyError):
            output.problem(found, one.name if len(chosen) > 1 else "")
        else:
            output.success(f"{one.app} on {one.server} is being stopped")
    if not all(isinstance(found, HaloyError) for found in answers):
        output.info(f"`haloy status{selection.again}` shows when it has stopped")
    raise SystemExit(exit_code_of_several(failed_of(answers), len(chosen)))


def _report(one: Selected, found: HaloyError | None) -> dict[str, Any]:
    return {
        "target": one.name,
        "app": one.app,
        "server": one.server,
        "ok": found is None,
        "error": None if found is None else said(found),
        "code": None if found is None else found.code,
    }
