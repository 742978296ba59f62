"""C{haloy server registry}: a server's own logins at image registries."""

from __future__ import annotations

import sys
from typing import Any

import click
from attrs import evolve

from haloy.cli.asking import interruptible
from haloy.cli.context import choose_servers, client_for, only_server
from haloy.cli.options import Selection, output_options, server_options
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.config.images import normalise_registry
from haloy.groups import SuggestingGroup


@click.group(cls=SuggestingGroup)
def registry() -> None:
    """Manage a server's logins to the registries that it pulls images from."""


@registry.command("login")
@click.argument("words", nargs=-1, required=True, metavar="[SERVER] REGISTRY")
@click.option("-u", "--username", default="", help="User name.")
@click.option(
    "-p",
    "--password",
    default="",
    help="Password; visible to all users of this machine.",
)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin.")
@server_options
@output_options
def login(
    words: tuple[str, ...],
    username: str,
    password: str,
    password_stdin: bool,
    selection: Selection,
    output: Output,
) -> None:
    """Log a server in to REGISTRY; the login is tried before it is saved."""
    selection, (name,) = _legacy(selection, words, 1)
    if not username:
        raise click.UsageError("--username is required")
    if password and password_stdin:
        raise click.UsageError("give --password or --password-stdin, not both")
    if password_stdin:
        password = _from_stdin()
    elif not password and sys.stdin.isatty():
        with interruptible():
            password = click.prompt("Password", hide_input=True, err=True)
    if not password:
        raise click.UsageError("the password is empty: --password-stdin reads one")
    wanted = normalise_registry(name)
    _each(selection, lambda client: client.registry_login(wanted, username, password))
    if output.as_json:
        output.json({"registry": wanted, "username": username})
    output.success(f"logged in at {wanted} as {username}")


@registry.command("logout")
@click.argument("words", nargs=-1, required=True, metavar="[SERVER] REGISTRY")
@server_options
@output_options
def logout(words: tuple[str, ...], selection: Selection, output: Output) -> None:
    """Remove a server's login to REGISTRY."""
    selection, (name,) = _legacy(selection, words, 1)
    wanted = normalise_registry(name)
    _each(selection, lambda client: client.registry_logout(wanted))
    if output.as_json:
        output.json({"registry": wanted})
    output.success(f"logged out at {wanted}")


@registry.command("list")
@click.argument("words", nargs=-1, metavar="[SERVER]")
@server_options
@output_options
def list_registries(
    words: tuple[str, ...], selection: Selection, output: Output
) -> None:
    """List a server's registry logins, without passwords."""
    selection, _ = _legacy(selection, words, 0)
    project, chosen = choose_servers(selection)

    async def ask(reactor: Any) -> list[tuple[str, list[dict[str, Any]]]]:
        return [
            (
                one.server,
                await client_for(reactor, project, one, selection.limit_s).registries(),
            )
            for one in chosen
        ]

    found = run(ask)
    if output.as_json:
        output.json([{"server": server, "registries": rows} for server, rows in found])
        return
    rows = [
        [server, str(row.get("server")), str(row.get("username"))]
        for server, logins in found
        for row in logins
    ]
    if not rows:
        output.info("no login is kept there")
        return
    skip = 0 if len(found) > 1 else 1
    output.table(
        ["SERVER", "REGISTRY", "USERNAME"][skip:], [row[skip:] for row in rows]
    )


def _legacy(
    selection: Selection, words: tuple[str, ...], wanted: int
) -> tuple[Selection, tuple[str, ...]]:
    """Return the selection and the names; the older form has the server first."""
    if len(words) == wanted + 1 and not selection.server:
        return evolve(selection, server=words[0]), words[1:]
    if len(words) != wanted:
        raise click.UsageError(
            f"needs {'a registry' if wanted else 'no argument'}; --server says where"
        )
    return selection, words


def _from_stdin() -> str:
    if sys.stdin.isatty():
        raise click.UsageError(
            "--password-stdin reads a pipe, as in: pass show registry | haloy …"
        )
    return sys.stdin.read().rstrip("\r\n")


def _each(selection: Selection, ask: Any) -> None:
    project, one = only_server(selection)

    async def carry_out(reactor: Any) -> None:
        await ask(client_for(reactor, project, one, selection.limit_s))

    run(carry_out)
