"""C{haloy server}: the servers a person has added, and what they say of themselves."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from haloy.cli.answers import of_server, tell_answers
from haloy.cli.asking import interruptible
from haloy.cli.context import (
    Selected,
    choose_servers,
    client_for,
    failed_of,
    make_client,
)
from haloy.cli.exits import exit_code_of_several
from haloy.cli.options import Selection, output_options, server_options
from haloy.cli.output import Output, show_entry
from haloy.cli.registries import registry
from haloy.cli.running import run, together
from haloy.cli.streams import while_read
from haloy.cli.version import installed
from haloy.config.client_file import (
    ENV,
    add_server,
    client_folder,
    delete_server,
    normalise_server,
    read_client_file,
)
from haloy.config.env_files import environment
from haloy.errors import HaloyError
from haloy.groups import SuggestingGroup

CHECK_LIMIT_S = 15.0


def _folder() -> Path:
    return client_folder(os.environ, Path.home())


@click.group("server", cls=SuggestingGroup)
def server_() -> None:
    """Add, list and delete servers; read their logs and versions."""


server_.add_command(registry)


@server_.command()
@click.argument("url")
@click.argument("token", nargs=-1)
@click.option("--token-stdin", is_flag=True, help="Read the token from stdin.")
@click.option(
    "--force", "-f", is_flag=True, help="Replace the token of a known server."
)
@click.option("--check", is_flag=True, help="Try the token before saving it.")
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    help="Trust the certificates in FILE.",
)
@output_options
def add(
    url: str,
    token: tuple[str, ...],
    token_stdin: bool,
    force: bool,
    check: bool,
    ca_file: str | None,
    output: Output,
) -> None:
    """Remember the server at URL and its API TOKEN.

    All users of this machine can see a token on the command line, and it stays in the
    shell's history. Leave it out to be asked for it, or use --token-stdin.
    """
    words = " ".join(token)
    asks = not words and sys.stdin.isatty()
    if not asks and token_stdin == bool(words):
        raise click.UsageError("give the token as an argument or by --token-stdin")
    if asks:
        with interruptible():
            words = click.prompt("Token (not shown)", hide_input=True, err=True).strip()
    elif token_stdin:
        words = sys.stdin.readline().strip()
    if ca_file:
        from haloy.config.trust import trusting  # noqa: PLC0415  (loads OpenSSL)

        trusting(ca_file)
    if check:
        _try(url, words, ca_file or "")
    name, variable = add_server(
        _folder(), url, words, force=force, ca_file=ca_file or ""
    )
    if output.as_json:
        output.json({"server": name, "tokenEnv": variable})
    output.success(f"Server {name} added; its token is {variable} in {_folder() / ENV}")


def _try(url: str, token: str, ca_file: str) -> None:
    """@raise HaloyError: the server does not answer, or refuses the token."""
    name = normalise_server(url)

    async def ask(reactor: Any) -> None:
        client = make_client(reactor, name, token, ca_file, CHECK_LIMIT_S)
        await client.version()

    run(ask)


@server_.command()
@click.argument("url")
@output_options
def delete(url: str, output: Output) -> None:
    """Forget the server at URL and its token."""
    name = delete_server(_folder(), url)
    if output.as_json:
        output.json({"server": name})
    output.success(f"Server {name} deleted")


@server_.command("list")
@output_options
def list_servers(output: Output) -> None:
    """List the known servers."""
    folder = _folder()
    servers = read_client_file(folder).servers
    variables = environment(os.environ, [folder])
    if output.as_json:
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


# --- what servers say -----------------------------------------------------------------


@server_.command("version")
@server_options
@click.option(
    "--components", is_flag=True, help="Show builds, generations and schemas, too."
)
@output_options
def version(selection: Selection, components: bool, output: Output) -> None:
    """Show the version of haloyd, and what its proxy runs.

    Of both it tells whether they run compiled or interpreted.
    """
    project, chosen = choose_servers(selection)

    async def ask(reactor: Any) -> list[dict[str, Any] | HaloyError]:
        return await together(
            client_for(reactor, project, one, selection.limit_s).version()
            for one in chosen
        )

    def show(_: Selected, found: dict[str, Any], prefix: str) -> None:
        _show_version(found, prefix, components, output)

    raise SystemExit(
        tell_answers(chosen, run(ask), output, lambda found: found, show, of_server)
    )


def _show_version(
    found: Mapping[str, Any], prefix: str, components: bool, output: Output
) -> None:
    there = str(found.get("haloyd") or "unknown")
    output.info(f"haloyd {_of_form(there, found.get('haloyd_form'))}", prefix)
    if there != installed():
        output.warn(f"this command is {installed()}", prefix)
    _show_proxy(found, prefix, output)
    if not components:
        return
    rows = (
        ("proxy", "haloy_proxy", ""),
        ("generation", "haloy_proxy_generation", "haloy_proxy_required_generation"),
        ("schema", "haloy_proxy_schema_version", "haloy_proxy_required_schema_version"),
    )
    for name, key, required in rows:
        needs = f" (required {found.get(required)})" if required else ""
        output.line(f"{name}: {found.get(key, 'unknown')}{needs}", prefix)
    capabilities = ", ".join(found.get("capabilities") or []) or "none"
    output.line(f"capabilities: {capabilities}", prefix)


def _show_proxy(found: Mapping[str, Any], prefix: str, output: Output) -> None:
    """Tell what serves requests; a daemon of before knows less of it."""
    runs = str(found.get("haloy_proxy") or "")
    compatible = found.get("haloy_proxy_compatible")
    if compatible is None and not runs:
        trouble = found.get("haloy_proxy_trouble")
        reason = f": {trouble}" if trouble else ""
        output.warn(f"its proxy is unavailable{reason}", prefix)
        return
    state = "connected" if compatible is None else "compatible"
    if compatible is False:
        output.warn("its proxy is not compatible: upgrade the server", prefix)
    elif found.get("haloy_proxy_form"):
        told = _of_form(runs, found["haloy_proxy_form"])
        output.info(f"its proxy is {state}: {told}", prefix)
    else:
        output.info(f"its proxy is {state}", prefix)
    workers = found.get("haloy_proxy_workers") or []
    for one in workers if len(workers) > 1 else ():
        does = "drain" if one["draining"] else "serve"
        told = _of_form(one["version"], one["form"])
        output.info(f"workers that {does}: {one['count']}, {told}", prefix)
    if workers and runs != found.get("haloyd"):
        output.warn(
            "its proxy is of another version: systemctl reload haloy-proxy", prefix
        )


def _of_form(version: str, form: Any) -> str:
    return f"{version} ({form})" if form else version


@server_.command("logs")
@server_options
@click.option("--access-logs", is_flag=True, help="Show requests, too.")
@output_options
def logs(selection: Selection, access_logs: bool, output: Output) -> None:
    """Show and follow the log of haloyd; Ctrl+C ends it.

    With --json each line is a JSON object of its own.
    """
    project, chosen = choose_servers(selection)

    async def read(reactor: Any, one: Any) -> None:
        client = client_for(reactor, project, one, selection.limit_s)
        prefix = one.server if len(chosen) > 1 else ""
        async for entry in client.server_logs(access_logs):
            if output.as_json:
                output.json_line({"server": one.server, **entry})
            else:
                show_entry(output, _named(entry), prefix)

    async def show(reactor: Any) -> list[HaloyError | None]:
        reading = together(read(reactor, one) for one in chosen)
        return await while_read(reactor, reading)

    answers = run(show)
    for one, found in zip(chosen, answers, strict=True):
        if isinstance(found, HaloyError):
            output.problem(found, one.server if len(chosen) > 1 else "")
    raise SystemExit(exit_code_of_several(failed_of(answers), len(answers)))


def _named(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line that says which deployment it is about, by its first letters."""
    deployment = str(entry.get("deploymentID") or "")
    if not deployment or entry.get("message") == "request":
        return dict(entry)
    return {**entry, "message": f"[id: {deployment[:8]}] -> {entry.get('message')}"}
