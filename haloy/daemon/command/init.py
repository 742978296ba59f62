"""C{haloyd init}: directories, configuration, first token, network.

Nothing that exists is changed or removed unless C{--override} says so, and then
it is moved aside, not deleted. Everything is checked before anything is written.
"""

from __future__ import annotations

import json
import secrets
import shutil
from datetime import UTC, datetime
from pathlib import Path

import click
from attrs import frozen

from haloy.api.auth import token_hash
from haloy.config.daemon_file import render_default
from haloy.config.private import make_directory, stamp, write_private
from haloy.daemon.command.engine import ask_engine
from haloy.daemon.command.options import directories, directory_options
from haloy.daemon.command.output import json_option
from haloy.daemon.paths import Directories
from haloy.daemon.settings import TOKEN, TOKEN_HASH
from haloy.engine.interface import Engine
from haloy.errors import Conflict, EngineError
from haloy.model.names import DEFAULT_NETWORK, parse_domain_name


@frozen
class Initialised:
    """What C{init} made; C{token} is shown once and kept nowhere else."""

    directories: Directories
    api_domain: str
    token: str
    moved: tuple[Path, ...]


@click.command()
@directory_options
@click.option("--api-domain", metavar="DOMAIN", help="Public name of the API.")
@click.option("--override", is_flag=True, help="First move an existing set-up aside.")
@click.option(
    "--no-env-token", is_flag=True, help="Keep only the token's hash, not the token."
)
@json_option
def init(
    config_dir: str | None,
    data_dir: str | None,
    api_domain: str | None,
    override: bool,
    no_env_token: bool,
    as_json: bool,
) -> None:
    """Set this server up: directories, configuration, first token, network."""
    chosen = directories(config_dir, data_dir)
    domain = parse_domain_name(api_domain, "--api-domain") if api_domain else ""
    refuse_existing(chosen, override)
    ask_engine(_network)
    now = datetime.now(UTC)
    made = initialise(chosen, domain, override, now, keep_token=not no_env_token)
    click.echo(_as_json(made) if as_json else _as_text(made))


def refuse_existing(chosen: Directories, override: bool) -> None:
    """@raise Conflict: there is a set-up already and nobody said to replace it."""
    if chosen.config_file.exists() and not override:
        raise Conflict(
            f"{chosen.config_file} exists: this server is set up already. "
            "Use `haloyd verify` to check it, or `haloyd init --override` "
            "to move it aside and start anew"
        )


def initialise(
    chosen: Directories,
    api_domain: str,
    override: bool,
    now: datetime,
    *,
    keep_token: bool = True,
) -> Initialised:
    """Make directories, configuration and token; undo all of it on an error.

    @param keep_token: write the token itself, so that this server's own commands have
        it, and a Go daemon could take over again.
    """
    moved = _move_aside(chosen, now) if override else ()
    made: list[Path] = [
        path for path in (chosen.config, chosen.data) if not path.exists()
    ]
    token = secrets.token_hex(32)
    try:
        for path in (
            chosen.config,
            chosen.data,
            chosen.database.parent,
            chosen.certificates,
        ):
            make_directory(path)
        chosen.data.chmod(0o700)
        write_private(chosen.env_file, _env_line(token, keep_token).encode())
        write_private(chosen.config_file, render_default(api_domain).encode())
    except OSError as problem:
        for path in made:
            shutil.rmtree(path, ignore_errors=True)
        raise Conflict(
            f"cannot write {problem.filename}: {problem.strerror}; "
            "run as root, or choose --config-dir and --data-dir"
        ) from problem
    return Initialised(chosen, api_domain, token, moved)


def _env_line(token: str, keep_token: bool) -> str:
    if keep_token:
        return f'{TOKEN}="{token}"\n'
    return f'{TOKEN_HASH}="{token_hash(token).hex()}"\n'


def _move_aside(chosen: Directories, now: datetime) -> tuple[Path, ...]:
    moved = []
    for path in (chosen.config, chosen.data):
        if path.exists():
            aside = path.with_name(f"{path.name}.old-{stamp(now)}")
            path.rename(aside)
            moved.append(aside)
    return tuple(moved)


async def _network(engine: Engine) -> None:
    try:
        await engine.ping()
        await engine.ensure_network(DEFAULT_NETWORK)
    except EngineError as problem:
        raise EngineError(
            f"Docker does not answer ({problem}); install and start it, "
            "and run this as a user who may use it",
            status=problem.status,
        ) from problem


def _as_json(made: Initialised) -> str:
    return json.dumps(
        {
            "configDir": str(made.directories.config),
            "dataDir": str(made.directories.data),
            "apiDomain": made.api_domain,
            "apiToken": made.token,
            "movedAside": [str(path) for path in made.moved],
        }
    )


def _as_text(made: Initialised) -> str:
    server = made.api_domain or "localhost:9922"
    lines = [
        *(f"Moved aside:        {path}" for path in made.moved),
        f"Configuration:      {made.directories.config_file}",
        f"Data:               {made.directories.data}",
        f"API domain:         {made.api_domain or '(none: loopback only)'}",
        f"API token:          {made.token}",
        "",
        "On your own machine, next:",
        f"  haloy server add {server} {made.token}",
    ]
    return "\n".join(lines)
