"""C{haloy apps}: what runs on a server."""

from __future__ import annotations

from typing import Any

import click

from haloy.cli.context import Project, Selected, choose_servers, client_for, failed_of
from haloy.cli.exits import exit_code_of_several
from haloy.cli.options import Selection, output_options, server_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.errors import HaloyError, NotFound


@click.command("apps")
@server_options
@output_options
def apps_(selection: Selection, output: Output) -> None:
    """List the apps on a server, one line each."""
    project, chosen = choose_servers(selection)

    async def ask(reactor: Any) -> list[list[dict[str, Any]] | HaloyError]:
        return await together(
            list_apps(reactor, project, one, selection.limit_s) for one in chosen
        )

    answers = run(ask)
    apps_table(chosen, answers, output)
    raise SystemExit(exit_code_of_several(failed_of(answers), len(answers)))


async def list_apps(
    reactor: Any, project: Project, one: Selected, limit_s: float
) -> list[dict[str, Any]]:
    """Return all apps of a server. @raise HaloyError: it cannot tell."""
    try:
        found: list[dict[str, Any]] = await client_for(
            reactor, project, one, limit_s
        ).apps()
    except NotFound:
        raise HaloyError(
            f"the haloyd on {one.server} cannot list its apps; "
            "`haloy status --app NAME` asks for one"
        ) from None
    return found


def apps_table(chosen: list[Selected], answers: list[Any], output: Output) -> None:
    """Show the apps of several servers, or print them for programs."""
    if output.as_json:
        output.json(
            [
                {"server": one.server, "error": str(found), "code": found.code}
                if isinstance(found, HaloyError)
                else {"server": one.server, "apps": found}
                for one, found in zip(chosen, answers, strict=True)
            ]
        )
    rows = []
    for one, found in zip(chosen, answers, strict=True):
        if isinstance(found, HaloyError):
            output.problem(found, one.server if len(chosen) > 1 else "")
        elif not found:
            output.info(f"no app runs on {one.server}")
        else:
            rows += [_row(one.server, app) for app in found]
    if rows:
        several = len(chosen) > 1
        columns = [
            "SERVER",
            "APP",
            "STATE",
            "HEALTHY",
            "DEPLOYMENT",
            "IMAGE",
            "DOMAINS",
        ]
        skip = 0 if several else 1
        output.table(columns[skip:], [row[skip:] for row in rows])


def _row(server: str, app: dict[str, Any]) -> list[str]:
    replicas = [one for one in app.get("replicas") or [] if not one.get("draining")]
    healthy = sum(
        (one.get("health") or {}).get("verdict") == "healthy" for one in replicas
    )
    images = dict.fromkeys(str(one.get("image")) for one in replicas)
    domains = dict.fromkeys(entry["domain"] for entry in app.get("domains") or [])
    return [
        server,
        str(app.get("appName")),
        str(app.get("state")),
        f"{healthy}/{len(replicas)}",
        str(app.get("deploymentId") or "-"),
        ", ".join(images) or "-",
        ", ".join(domains) or "-",
    ]
