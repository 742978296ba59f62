"""C{haloy server}: the servers a person has added."""

from __future__ import annotations

import os
from pathlib import Path

import click

from haloy.cli.output import Output
from haloy.config.client_file import (
    add_server,
    client_folder,
    delete_server,
    read_client_file,
)
from haloy.config.env_files import environment


def _folder() -> Path:
    return client_folder(os.environ, Path.home())


@click.group()
def server() -> None:
    """Add, list and delete servers."""


@server.command()
@click.argument("url")
@click.argument("token", nargs=-1, required=True)
@click.option("--force", "-f", is_flag=True, help="Replace the token of a known one.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Trust the certificates in this file.",
)
def add(url: str, token: tuple[str, ...], force: bool, ca_file: str | None) -> None:
    """Remember the server at URL and its API TOKEN."""
    name, variable = add_server(
        _folder(), url, " ".join(token), force=force, ca_file=ca_file or ""
    )
    Output().success(f"Server {name} added; its token is in {variable}")


@server.command()
@click.argument("url")
def delete(url: str) -> None:
    """Forget the server at URL and its token."""
    name = delete_server(_folder(), url)
    Output().success(f"Server {name} deleted")


@server.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def list_servers(as_json: bool) -> None:
    """List the servers that are known."""
    output = Output(as_json=as_json)
    folder = _folder()
    servers = read_client_file(folder).servers
    variables = environment(os.environ, [folder])
    if as_json:
        output.json(
            [
                {
                    "server": name,
                    "tokenEnv": servers[name].token_env,
                    "hasToken": bool(variables.get(servers[name].token_env)),
                }
                for name in sorted(servers)
            ]
        )
        return
    if not servers:
        output.info("No server is known yet: `haloy server add URL TOKEN`")
        return
    output.table(
        ["URL", "ENV VAR", "ENV VAR EXISTS"],
        [
            [
                name,
                servers[name].token_env,
                "yes" if variables.get(servers[name].token_env) else "no",
            ]
            for name in sorted(servers)
        ],
    )
