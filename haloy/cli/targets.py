"""C{haloy targets}: what a configuration describes; no server is asked."""

from __future__ import annotations

from typing import Any

import click

from haloy.cli.context import Selected, load_project
from haloy.cli.options import Selection, file_options, output_options
from haloy.cli.output import Output


@click.command("targets")
@file_options
@output_options
def targets_(selection: Selection, output: Output) -> None:
    """List the targets of the configuration, with what they inherit."""
    project = load_project(selection.config)
    everything = selection.everything or not selection.names
    chosen = project.select(selection.names, everything)
    rows = [_report(one) for one in sorted(chosen, key=lambda one: one.name)]
    if output.as_json:
        output.json(rows)
        return
    output.table(
        ["NAME", "SERVER", "DOMAINS", "REPLICAS", "PROTECTED"],
        [
            [
                row["target"],
                row["server"],
                ", ".join(row["domains"]) or "-",
                str(row["replicas"]),
                "yes" if row["protected"] else "no",
            ]
            for row in rows
        ],
    )


def _report(one: Selected) -> dict[str, Any]:
    return {
        "target": one.name,
        "app": one.app,
        "server": one.server,
        "domains": [entry.domain for entry in one.target.domains or ()],
        "replicas": one.target.replicas,
        "protected": bool(one.target.protected),
    }
