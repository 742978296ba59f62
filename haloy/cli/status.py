"""C{haloy status}."""

from __future__ import annotations

from typing import Any

import click

from haloy.cli.context import (
    Selected,
    client_for,
    limit_option,
    load_project,
    target_options,
)
from haloy.cli.exits import exit_code_of_several
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.errors import HaloyError, NotFound

_COLOURS = {
    "running": "green",
    "restarting": "yellow",
    "paused": "blue",
    "exited": "red",
    "stopped": "red",
}


@click.command()
@target_options
@limit_option
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def status(
    config: str, names: tuple[str, ...], everything: bool, limit_s: float, as_json: bool
) -> None:
    """Show how the app of this folder is: replicas, health, certificates."""
    output = Output(as_json=as_json)
    project = load_project(config)
    chosen = project.select(names, everything)

    async def ask(reactor: Any) -> list[tuple[Selected, Any]]:
        found: list[tuple[Selected, Any]] = []
        for one in chosen:
            client = client_for(reactor, project, one, limit_s)
            try:
                found.append((one, await client.status(one.app)))
            except NotFound:
                missing = NotFound(f"{one.app} is not deployed on {one.server}")
                found.append((one, missing))
            except HaloyError as problem:
                found.append((one, problem))
        return found

    answers = run(ask)
    problems = [found for _, found in answers if isinstance(found, HaloyError)]
    if as_json:
        output.json([_report(one, found) for one, found in answers])
    else:
        for one, found in answers:
            if isinstance(found, HaloyError):
                output.error(str(found), one.name if len(answers) > 1 else "")
            else:
                _show(one, found, output)
    raise SystemExit(exit_code_of_several(problems, len(answers)))


def _report(one: Selected, found: Any) -> dict[str, Any]:
    base = {"target": one.name, "app": one.app, "server": one.server}
    if isinstance(found, HaloyError):
        return {**base, "error": str(found)}
    return {**base, **found}


def _show(one: Selected, found: dict[str, Any], output: Output) -> None:
    title = f"Status for {one.app} on {one.server}"
    output.line(click.style(title, bold=True))
    output.line("─" * len(title))
    state = str(found.get("state") or "unknown")
    output.line(f"State:         {click.style(state.title(), fg=_COLOURS.get(state))}")
    output.line(f"Deployment ID: {found.get('deploymentId', '')}")
    domains = [entry["domain"] for entry in found.get("domains") or []]
    output.line(f"Domains:       {', '.join(dict.fromkeys(domains)) or '-'}")
    replicas = found.get("replicas")
    if replicas is None:  # a daemon that tells no more
        ids = [container[:12] for container in found.get("containerIds") or []]
        output.line(f"Containers:    {', '.join(ids) or '-'}")
        return
    for certificate in found.get("certificates") or []:
        output.line(f"Certificate:   {_certificate(certificate)}")
    output.table(
        ["REPLICA", "CONTAINER", "STATE", "HEALTH", "RESTARTS", "IMAGE"],
        [_row(replica) for replica in replicas],
    )


def _row(replica: dict[str, Any]) -> list[str]:
    health = replica.get("health") or {}
    verdict = str(health.get("verdict") or "-")
    if health.get("reason") and verdict != "healthy":
        verdict += f": {health['reason']}"
    state = str(replica.get("state"))
    if replica.get("draining"):
        state += " (draining)"
    return [
        str(replica.get("number")),
        str(replica.get("containerId"))[:12],
        state,
        verdict,
        str(replica.get("restarts")),
        str(replica.get("image")),
    ]


def _certificate(certificate: dict[str, Any]) -> str:
    text = f"{certificate['name']}: {certificate['state']}"
    if certificate.get("notAfter"):
        text += f" until {certificate['notAfter'][:10]}"
    if certificate.get("reason"):
        text += f" ({certificate['reason']})"
    return text
