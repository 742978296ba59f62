"""C{haloyd token}: who may call the API. Asks the daemon, else the database."""

from __future__ import annotations

import secrets
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from haloy.api.auth import token_hash
from haloy.api.bodies import SCOPES
from haloy.api.gatekeeper import ENV_TOKEN
from haloy.config.units import parse_duration
from haloy.daemon.command.daemon import NotRunning, local_daemon
from haloy.daemon.command.options import as_owner
from haloy.daemon.command.output import json_option, tell, tell_table
from haloy.daemon.paths import Directories
from haloy.errors import Conflict, NotFound
from haloy.groups import SuggestingGroup
from haloy.model.names import parse_app_name
from haloy.model.token import Token
from haloy.store import tokens as rows


@click.group(cls=SuggestingGroup)
def token() -> None:
    """Create, list and revoke API tokens."""


@token.command("list")
@as_owner
@json_option
def listing(chosen: Directories, as_json: bool) -> None:
    """List the tokens, without their values."""
    try:
        found = local_daemon(chosen).ask("GET", "/v1/tokens")["tokens"]
    except NotRunning:
        found = [_as_api(one) for one in _in_database(chosen, rows.tokens)]
    shown = [
        (
            one["name"],
            ",".join(one["scopes"]),
            ",".join(one["apps"]) or "all",
            one.get("expiresAt") or "never",
            one.get("lastUsedAt") or "never",
            "revoked" if one.get("revokedAt") else "valid",
        )
        for one in found
    ]
    names = ("NAME", "SCOPES", "APPS", "EXPIRES", "LAST USED", "STATE")
    tell_table({"tokens": found}, names, shown, as_json)


@token.command()
@as_owner
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("deploy",),
    show_default=True,
    help="What it may do; repeatable.",
)
@click.option("--app", "apps", multiple=True, help="Only for this app; repeatable.")
@click.option(
    "--expires", metavar="DURATION", help="When it expires, as 90d; by default never."
)
@json_option
def create(
    chosen: Directories,
    name: str,
    scopes: tuple[str, ...],
    apps: tuple[str, ...],
    expires: str | None,
    as_json: bool,
) -> None:
    """Make a token called NAME and print it: it is shown this once."""
    limited = tuple(str(parse_app_name(one, "--app")) for one in apps)
    until = None
    if expires:
        life = timedelta(seconds=parse_duration(expires, "--expires", 60.0))
        until = datetime.now(UTC) + life
    body: dict[str, Any] = {"name": name, "scopes": list(scopes), "apps": list(limited)}
    if until is not None:
        body["expiresAt"] = until.isoformat()
    try:
        made = local_daemon(chosen).ask("POST", "/v1/tokens", body)["token"]
    except NotRunning:
        made = f"haloy_{secrets.token_urlsafe(32)}"
        row = Token(name, token_hash(made), scopes, limited, datetime.now(UTC), until)
        if name == ENV_TOKEN or not _in_database(chosen, rows.add_token, row):
            raise Conflict(f"there is a token named {name} already") from None
    tell({"name": name, "token": made}, [made], as_json)


@token.command()
@as_owner
@click.argument("name")
@json_option
def revoke(chosen: Directories, name: str, as_json: bool) -> None:
    """Revoke the token NAME at once."""
    try:
        local_daemon(chosen).ask("POST", f"/v1/tokens/{name}/revoke")
    except NotRunning:
        if not _in_database(chosen, rows.revoke_token, name, datetime.now(UTC)):
            raise NotFound(f"there is no token named {name}") from None
    tell({"name": name, "revoked": True}, [f"{name} is revoked."], as_json)


def _in_database(chosen: Directories, work: Any, *arguments: Any) -> Any:
    """Do C{work} with a cursor while no daemon runs.

    @raise NotFound: there is no database yet.
    """
    if not chosen.database.exists():
        raise NotFound(
            f"there is no {chosen.database} yet; start haloyd once, it makes it"
        )
    connection = sqlite3.connect(chosen.database, timeout=10)
    try:
        with connection:
            return work(connection.cursor(), *arguments)
    except sqlite3.OperationalError as problem:
        raise NotFound(f"{chosen.database}: {problem}") from problem
    finally:
        connection.close()


def _as_api(one: Token) -> dict[str, Any]:
    def shown(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "name": one.name,
        "scopes": list(one.scopes),
        "apps": list(one.apps),
        "createdAt": shown(one.created_at),
        "expiresAt": shown(one.expires_at),
        "lastUsedAt": shown(one.last_used_at),
        "revokedAt": shown(one.revoked_at),
    }
