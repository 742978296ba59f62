"""C{haloy rollback} and C{haloy rollback-targets}."""

from __future__ import annotations

import secrets
import sys
import time
from datetime import UTC, datetime
from typing import Any

import click
from attrs import evolve

from haloy.cli.context import (
    Project,
    Selected,
    client_for,
    limit_option,
    load_project,
    target_options,
)
from haloy.cli.deploy import follow
from haloy.cli.exits import exit_code_of_several
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.config.app_file import AppFile
from haloy.config.interpolate import interpolate
from haloy.config.merge import targets as merged_targets
from haloy.config.secrets import Secrets
from haloy.config.wire import app_file_from, target_to_json
from haloy.errors import HaloyError, NotFound
from haloy.model.names import deployment_time, new_deployment_id


@click.command()
@target_options
@limit_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def rollback_targets(
    config: str, names: tuple[str, ...], everything: bool, limit_s: float, as_json: bool
) -> None:
    """List the deployments that the app can be rolled back to."""
    output = Output(as_json=as_json)
    project = load_project(config)
    chosen = project.select(names, everything)

    async def ask(reactor: Any) -> list[list[dict[str, Any]]]:
        return [
            await client_for(reactor, project, one, limit_s).rollback_targets(one.app)
            for one in chosen
        ]

    found = run(ask)
    if as_json:
        output.json(
            [
                {"target": one.name, "app": one.app, "targets": kept}
                for one, kept in zip(chosen, found, strict=True)
            ]
        )
        return
    for one, kept in zip(chosen, found, strict=True):
        if not kept:
            output.info(f"{one.app} has no deployment to go back to")
            continue
        output.info(f"{one.app} on {one.server}")
        output.table(
            ["DEPLOYMENT ID", "IMAGE REFERENCE", "DATE"],
            [[row["DeploymentID"], row["ImageRef"], _date(row)] for row in kept],
        )
        where = "" if config == "." else f" --config {config}"
        output.info(f"Go back with: haloy rollback{where} {kept[0]['DeploymentID']}")


@click.command()
@click.argument("deployment", required=False)
@target_options
@limit_option
@click.option("--no-logs", is_flag=True, help="Return when the request is accepted.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def rollback(
    deployment: str | None,
    config: str,
    names: tuple[str, ...],
    everything: bool,
    limit_s: float,
    no_logs: bool,
    yes: bool,
) -> None:
    """Go back to DEPLOYMENT, or to the one before the present one."""
    output = Output()
    project = load_project(config)
    chosen = project.select(names, everything)
    what = deployment or "the deployment before the present one"
    if not yes and sys.stdin.isatty():
        click.confirm(
            f"Roll {', '.join(one.app for one in chosen)} back to {what}?", abort=True
        )
    problems: list[HaloyError] = []

    async def carry_out(reactor: Any) -> None:
        for one in chosen:
            client = client_for(reactor, project, one, limit_s)
            prefix = one.name if len(chosen) > 1 else ""
            try:
                await _roll_back(
                    client, project, one, deployment, output, no_logs, prefix
                )
            except HaloyError as problem:
                problems.append(problem)
                output.error(str(problem), prefix)

    run(carry_out)
    raise SystemExit(exit_code_of_several(problems, len(chosen)))


async def _roll_back(
    client: Any,
    project: Project,
    one: Selected,
    deployment: str | None,
    output: Output,
    no_logs: bool,
    prefix: str,
) -> None:
    kept = await client.rollback_targets(one.app)
    chosen = next(
        (row for row in kept if deployment in (None, row["DeploymentID"])), None
    )
    if chosen is None:
        raise NotFound(
            f"{one.app} has no deployment {deployment or 'to go back to'}; "
            "`haloy rollback-targets` lists them"
        )
    now_ms = time.time_ns() // 1_000_000
    new = new_deployment_id(now_ms, secrets.token_bytes(10))
    await client.rollback(
        {
            "targetDeploymentID": chosen["DeploymentID"],
            "newDeploymentID": new,
            "newTargetConfig": _config(project, one, chosen),
        }
    )
    output.info(f"Rollback to {chosen['DeploymentID']} started as {new}", prefix)
    if not no_logs:
        await follow(client, new, output, prefix)


def _config(project: Project, one: Selected, chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the stored configuration with today's secrets in it."""
    stored = chosen.get("RawDeployConfig")
    if not stored:
        raise HaloyError(f"{chosen['DeploymentID']} has no stored configuration")
    file: AppFile = app_file_from(stored, camel=True)
    target = next(iter(merged_targets(file, (one.server,)).values()))
    source = Secrets(
        project.environment(one.name), file.secret_providers, project.folder
    )
    resolved = interpolate(source.resolve(target))
    return target_to_json(evolve(resolved, api_token=None, image_key=None))


def _date(row: dict[str, Any]) -> str:
    made = deployment_time(row["DeploymentID"])
    if made is None:
        return "N/A"
    return f"{made.astimezone():%Y-%m-%d %H:%M} ({_ago(made)})"


def _ago(made: datetime) -> str:
    seconds = int((datetime.now(UTC) - made).total_seconds())
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    for name, size in units:
        if seconds >= size:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''} ago"
    return "now"
