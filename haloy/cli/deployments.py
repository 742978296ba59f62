"""C{haloy deployments}, C{haloy diff} and C{haloy cancel}: what was deployed when."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from haloy.cli.ages import ago, parse_time, span
from haloy.cli.answers import tell_answers
from haloy.cli.context import Project, Selected, choose, client_for
from haloy.cli.numbers import Whole
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.plan import change_json, styled
from haloy.cli.running import run, together
from haloy.config.app_file import Target
from haloy.config.diff import Change, changes
from haloy.config.wire import target_from_json
from haloy.errors import HaloyError, NotFound


@click.command("deployments")
@app_options
@click.option(
    "--limit",
    type=Whole(1, 500),
    default=20,
    show_default=True,
    help="How many to list, newest first.",
)
@output_options
def deployments_(selection: Selection, limit: int, output: Output) -> None:
    """List past deployments, newest first: when, by whom, and how they ended."""
    project, chosen = choose(selection)

    async def ask(reactor: Any) -> list[list[dict[str, Any]] | HaloyError]:
        return await together(
            _listed(reactor, project, one, selection.limit_s, limit) for one in chosen
        )

    def show(one: Selected, found: list[dict[str, Any]], _: str) -> None:
        _show(one, found, output)

    raise SystemExit(
        tell_answers(
            chosen, run(ask), output, lambda found: {"deployments": found}, show
        )
    )


async def _listed(
    reactor: Any, project: Project, one: Selected, limit_s: float, limit: int
) -> list[dict[str, Any]]:
    client = client_for(reactor, project, one, limit_s)
    try:
        found: list[dict[str, Any]] = await client.deployments(one.app, limit)
    except NotFound:
        raise HaloyError(
            f"the haloyd on {one.server} does not tell its deployments; "
            "`haloy rollback-targets` lists those that are kept"
        ) from None
    return found


def _show(one: Selected, found: list[dict[str, Any]], output: Output) -> None:
    if not found:
        output.info(f"{one.app} was never deployed on {one.server}")
        return
    now = datetime.now(UTC)
    output.info(f"{one.app} on {one.server}")
    output.table(
        ["DEPLOYMENT ID", "STATE", "WHEN", "TOOK", "BY", "IMAGE", "REASON"],
        [_row(row, now) for row in found],
    )


def _row(row: dict[str, Any], now: datetime) -> list[str]:
    began = parse_time(row.get("createdAt"))
    ended = parse_time(row.get("finishedAt"))
    took = span((ended - began).total_seconds()) if began and ended else "-"
    back = row.get("rolledBackFrom")
    reason = f"rollback to {back}" if back else str(row.get("reason") or "")
    return [
        str(row.get("deploymentId")),
        str(row.get("state")),
        ago(began, now) if began else "-",
        took,
        str(row.get("askedBy") or "-"),
        str(row.get("image") or "-"),
        reason,
    ]


# --- what changed -------------------------------------------------------------------


@click.command("diff")
@click.argument("before", required=False)
@click.argument("after", required=False)
@app_options
@output_options
def diff_(
    before: str | None, after: str | None, selection: Selection, output: Output
) -> None:
    """Show what changed from deployment BEFORE to AFTER; values stay hidden.

    With one argument: what that deployment changed; with none: what the current one
    changed.
    """
    project, chosen = choose(selection)
    if len(chosen) > 1:
        raise click.UsageError("this compares deployments of one target")
    (one,) = chosen

    async def ask(reactor: Any) -> tuple[str, str, list[Any]]:
        client = client_for(reactor, project, one, selection.limit_s)
        if before is not None and after is not None:
            old = await _target(client, one, before)
            new = await _target(client, one, after)
            return before, after, [change_json(own) for own in changes(old, new)]
        asked = before or str((await client.status(one.app)).get("deploymentId") or "")
        detail = await client.deployment(one.app, asked)
        found = detail.get("changes")
        if found is None:
            raise HaloyError(f"what {asked} changed is no longer known")
        return str(detail.get("comparedWith") or ""), asked, found

    first, second, found = run(ask)
    if output.as_json:
        told = {"app": one.app, "before": first or None, "after": second}
        output.json({**told, "changes": found})
        return
    output.info(f"{one.app}: {first or 'nothing'} → {second}")
    if not found:
        output.line("    the configuration is the same")
    for row in found:
        output.line(f"    {styled(_change(row))}")


def _change(row: dict[str, Any]) -> Change:
    return Change(str(row.get("key")), row.get("before"), row.get("after"))


async def _target(client: Any, one: Selected, deployment: str) -> Target:
    detail = await client.deployment(one.app, deployment)
    if not detail.get("config"):
        raise HaloyError(f"the configuration of {deployment} is no longer known")
    return target_from_json(detail["config"], "config")


# --- taking back ----------------------------------------------------------------------


@click.command("cancel")
@click.argument("deployment")
@app_options
@output_options
def cancel_(deployment: str, selection: Selection, output: Output) -> None:
    """Cancel DEPLOYMENT while it waits behind another one."""
    project, chosen = choose(selection)
    if len(chosen) > 1:
        raise click.UsageError("this takes back a deployment of one target")
    (one,) = chosen

    async def ask(reactor: Any) -> None:
        client = client_for(reactor, project, one, selection.limit_s)
        await client.cancel(one.app, deployment)

    run(ask)
    if output.as_json:
        output.json({"app": one.app, "deploymentId": deployment, "cancelled": True})
    output.success(f"{deployment} of {one.app} is taken back")
