"""C{haloyd version}."""

from __future__ import annotations

import json
from importlib.metadata import version as installed_version

import click

from haloy.daemon.command.output import json_option
from haloy.proxy.control.protocol import PROTOCOL
from haloy.proxy.form import form


@click.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version, and whether the proxy runs compiled or interpreted."""
    number = installed_version("haloy")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "version": number,
                    "proxy_form": form(),
                    "required_proxy_generation": 1,
                    "required_proxy_schema_version": PROTOCOL,
                }
            )
        )
    else:
        click.echo(f"{number} ({form()} proxy)")
