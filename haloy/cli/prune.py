"""C{haloy prune-images}: old images of an app go; a dry run unless C{--yes}."""

from __future__ import annotations

from typing import Any

import click

from haloy.cli.answers import tell_answers
from haloy.cli.context import Selected, choose, client_for
from haloy.cli.numbers import Whole
from haloy.cli.options import Selection, app_options, output_options
from haloy.cli.output import Output
from haloy.cli.running import run, together
from haloy.config.app_file import Target
from haloy.config.merge import DEFAULT_HISTORY
from haloy.errors import HaloyError


@click.command("prune-images")
@app_options
@click.option(
    "--keep",
    type=Whole(0, 1000),
    default=None,
    help="Versions to keep; by default as image.history says.",
)
@click.option("--yes", "-y", is_flag=True, help="Remove them, not only list them.")
@output_options
def prune_images_(
    selection: Selection, keep: int | None, yes: bool, output: Output
) -> None:
    """Remove the app's old images from its server, or list what would go."""
    project, chosen = choose(selection)

    async def carry_out(reactor: Any) -> list[dict[str, Any] | HaloyError]:
        return await together(
            client_for(reactor, project, one, selection.limit_s).prune(
                one.app, kept(one.target) if keep is None else keep, yes
            )
            for one in chosen
        )

    def show(one: Selected, found: dict[str, Any], _: str) -> None:
        _show(one, found, selection, output)

    raise SystemExit(
        tell_answers(chosen, run(carry_out), output, lambda found: found, show)
    )


def kept(target: Target) -> int:
    """Return how many versions a target's history keeps."""
    history = target.image.history if target.image is not None else None
    if history is None or history.strategy in (None, "local"):
        return (history and history.count) or DEFAULT_HISTORY
    return 0 if history.strategy == "none" else history.count or 1


def _show(
    one: Selected, found: dict[str, Any], selection: Selection, output: Output
) -> None:
    tags = found.get("tags") or []
    if not tags:
        output.info(f"{one.app} on {one.server} has no image to remove")
        return
    output.heading(f"Images of {one.app} on {one.server}")
    output.line(f"Keep:    {found.get('keep')}")
    output.line(f"Mode:    {'applied' if found.get('applied') else 'dry-run'}")
    running = found.get("runningDeploymentIds") or []
    output.line(f"Running: {', '.join(running) or '-'}")
    output.table(
        ["TAG", "DEPLOYMENT ID"],
        [[str(tag.get("tag")), str(tag.get("deploymentId"))] for tag in tags],
    )
    if not found.get("applied"):
        again = f"haloy prune-images{selection.again} --keep {found.get('keep')} --yes"
        output.info(f"Remove them with: {again}")
