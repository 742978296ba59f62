"""C{haloyd version}."""

from __future__ import annotations

import json
from importlib.metadata import version as installed_version

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def version(as_json: bool) -> None:
    """Print the version."""
    number = installed_version("haloy")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": number,
                    "required_proxy_generation": 1,
                    "required_proxy_schema_version": 1,
                }
            )
        )
    else:
        click.echo(number)
