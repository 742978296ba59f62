"""C{haloy version}."""

from __future__ import annotations

import json
from importlib.metadata import version as installed_version

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def version(as_json: bool) -> None:
    """Print the version of this command."""
    number = installed_version("haloy")
    click.echo(json.dumps({"version": number}) if as_json else number)
