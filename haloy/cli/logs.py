"""C{haloy logs}."""

from __future__ import annotations

from typing import Any

import click
from twisted.internet.defer import Deferred, gatherResults

from haloy.cli.context import (
    Selected,
    client_for,
    limit_option,
    load_project,
    target_options,
)
from haloy.cli.output import Output
from haloy.cli.running import run


@click.command()
@target_options
@limit_option
@click.option("--tail", default=100, show_default=True, help="Lines to begin with.")
@click.option("--container", default="", help="One container by id or prefix.")
@click.option("--all-containers", is_flag=True, help="All replicas.")
@click.option("--no-follow", is_flag=True, help="Stop after what is there.")
@click.option("--raw", is_flag=True, help="Lines as they are, for scripts.")
def logs(
    config: str,
    names: tuple[str, ...],
    everything: bool,
    limit_s: float,
    tail: int,
    container: str,
    all_containers: bool,
    no_follow: bool,
    raw: bool,
) -> None:
    """Show what the app's containers write."""
    if container and all_containers:
        raise click.UsageError("give --container or --all-containers, not both")
    output = Output()
    project = load_project(config)
    chosen = project.select(names, everything)

    async def one_target(reactor: Any, one: Selected) -> None:
        client = client_for(reactor, project, one, limit_s)
        lines = client.logs(one.app, tail, not no_follow, container, all_containers)
        async for entry in lines:
            text = str(entry.get("line") or "")
            if all_containers and not raw:
                text = f"[{str(entry.get('containerId'))[:12]}] {text}"
            if len(chosen) > 1 and not raw:
                output.info(text, one.name)
            else:
                output.line(text)

    async def show(reactor: Any) -> None:
        if not no_follow and not raw:
            output.info("Streaming logs; Ctrl+C ends it")
        running = [Deferred.fromCoroutine(one_target(reactor, one)) for one in chosen]
        await gatherResults(running, consumeErrors=True).addErrback(_cause)

    run(show)


def _cause(failure: Any) -> Any:
    """Take the cause out of the error that C{gatherResults} wraps it in."""
    return getattr(failure.value, "subFailure", failure)
