"""C{haloy status}: an app with its replicas, or all apps of a server."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
from twisted.internet.task import deferLater

from haloy.cli.ages import age, until
from haloy.cli.answers import tell_answers
from haloy.cli.apps import apps_table, list_apps
from haloy.cli.context import (
    Project,
    Selected,
    choose,
    choose_servers,
    client_for,
    failed_of,
    has_config,
)
from haloy.cli.exits import exit_code_of_several
from haloy.cli.numbers import Seconds
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.errors import NotFound

WATCH_S = 2.0
STATE_COLOURS = {
    "running": "green",
    "restarting": "yellow",
    "paused": "blue",
    "exited": "red",
    "stopped": "red",
}


@click.command("status")
@app_options
@click.option("-w", "--watch", is_flag=True, help="Refresh until Ctrl+C.")
@click.option(
    "--interval",
    "interval_s",
    type=Seconds(0.2, 3600),
    default=WATCH_S,
    show_default=True,
    help="With --watch: seconds between refreshes.",
)
@output_options
def status_(
    selection: Selection, watch: bool, interval_s: float, output: Output
) -> None:
    """Show the state of this folder's app: replicas, health, certificates.

    Without a configuration here, or with --server alone: all apps on the server.
    """
    if watch and output.as_json:
        raise click.UsageError("give --watch or --json, not both")
    if not selection.app and (selection.server or not has_config(selection)):
        raise SystemExit(_all_apps(selection, watch, interval_s, output))
    project, chosen = choose(selection)

    def show(one: Selected, found: dict[str, Any], _: str) -> None:
        _show(one, found, output)

    async def look(reactor: Any) -> int:
        answers = await together(
            _ask(reactor, project, one, selection) for one in chosen
        )
        return tell_answers(chosen, answers, output, lambda found: found, show)

    raise SystemExit(run(lambda reactor: _repeat(reactor, look, watch, interval_s)))


async def _repeat(reactor: Any, look: Any, watch: bool, interval_s: float) -> int:
    """Look once, or until Ctrl+C."""
    while True:
        if watch:
            click.clear()
            click.echo(click.style(f"{datetime.now():%H:%M:%S}", dim=True))  # noqa: DTZ005  (the local clock is shown)
        code: int = await look(reactor)
        if not watch:
            return code
        await deferLater(reactor, interval_s)


def _all_apps(
    selection: Selection, watch: bool, interval_s: float, output: Output
) -> int:
    project, chosen = choose_servers(selection)

    async def look(reactor: Any) -> int:
        answers = await together(
            list_apps(reactor, project, one, selection.limit_s) for one in chosen
        )
        apps_table(chosen, answers, output)
        return exit_code_of_several(failed_of(answers), len(answers))

    return run(lambda reactor: _repeat(reactor, look, watch, interval_s))


async def _ask(
    reactor: Any, project: Project, one: Selected, selection: Selection
) -> dict[str, Any]:
    client = client_for(reactor, project, one, selection.limit_s)
    try:
        found: dict[str, Any] = await client.status(one.app)
    except NotFound:
        raise NotFound(f"{one.app} is not deployed on {one.server}") from None
    return found


# --- showing ------------------------------------------------------------------------


def _show(one: Selected, found: dict[str, Any], output: Output) -> None:
    output.heading(f"{one.app} on {one.server}")
    state = str(found.get("state") or "unknown")
    shown = click.style(state, fg=STATE_COLOURS.get(state), bold=True)
    if found.get("deploying"):
        shown += f", a deployment is {found['deploying']}"
    output.line(f"State:       {shown}")
    output.line(f"Deployment:  {found.get('deploymentId') or '-'}")
    entries = found.get("domains") or []
    domains = dict.fromkeys(entry["domain"] for entry in entries)
    urls = ", ".join(f"https://{domain}" for domain in domains)
    output.line(f"Domains:     {urls or '-'}")
    replicas = found.get("replicas")
    if replicas is None:  # a daemon that tells no more
        ids = [container[:12] for container in found.get("containerIds") or []]
        output.line(f"Containers:  {', '.join(ids) or '-'}")
        return
    now = datetime.now(UTC)
    for certificate in found.get("certificates") or []:
        output.line(f"Certificate: {_certificate(certificate, now)}")
    output.table(
        ["REPLICA", "CONTAINER", "STATE", "HEALTH", "AGE", "RESTARTS", "IMAGE"],
        [_row(replica, now) for replica in replicas],
    )


def _row(replica: dict[str, Any], now: datetime) -> list[str]:
    health = replica.get("health") or {}
    verdict = str(health.get("verdict") or "-")
    if health.get("reason") and verdict != "healthy":
        verdict += f": {health['reason']}"
    state = str(replica.get("state"))
    if replica.get("draining"):
        state += f" (draining{_left(replica)})"
    return [
        str(replica.get("number")),
        str(replica.get("containerId"))[:12],
        state,
        verdict,
        age(replica.get("startedAt"), now),
        str(replica.get("restarts")),
        str(replica.get("image")),
    ]


def _left(replica: dict[str, Any]) -> str:
    """Return what a replica that drains still has to do."""
    counts = (
        ("drainingRequests", "request"),
        ("drainingTunnels", "tunnel"),
    )
    parts = [
        f"{count} {word}{'s' if count != 1 else ''}"
        for key, word in counts
        if (count := replica.get(key))
    ]
    return f": {', '.join(parts)}" if parts else ""


def _certificate(certificate: dict[str, Any], now: datetime) -> str:
    text = f"{certificate['name']}: {certificate['state']}"
    if certificate.get("notAfter"):
        left = until(certificate["notAfter"], now)
        text += f" until {certificate['notAfter'][:10]} ({left})"
    if certificate.get("reason"):
        text += f" ({certificate['reason']})"
    return text
