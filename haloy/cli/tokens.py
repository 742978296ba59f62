"""C{haloy tokens}: who may do what on a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from haloy.cli.ages import ago, parse_time
from haloy.cli.context import client_for, only_server
from haloy.cli.numbers import Whole
from haloy.cli.options import Selection, output_options, server_options
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.errors import NotFound
from haloy.groups import SuggestingGroup

SCOPES = ("read", "deploy", "exec", "admin")


@click.group("tokens", cls=SuggestingGroup)
def tokens_() -> None:
    """List, create and revoke a server's API tokens, and see their use."""


@tokens_.command("list")
@server_options
@output_options
def list_(selection: Selection, output: Output) -> None:
    """List a server's tokens, without their values."""
    found = _asked(selection, lambda client: client.tokens())
    if output.as_json:
        output.json(found)
        return
    if not found:
        output.info("there are no tokens but the one of the server's .env")
        return
    now = datetime.now(UTC)
    output.table(
        ["NAME", "SCOPES", "APPS", "CREATED", "LAST USED", "EXPIRES", "STATE"],
        [
            [
                str(one.get("name")),
                ", ".join(one.get("scopes") or []),
                ", ".join(one.get("apps") or []) or "all",
                _when(one.get("createdAt"), now),
                _when(one.get("lastUsedAt"), now),
                _when(one.get("expiresAt"), now),
                _state(one, now),
            ]
            for one in found
        ],
    )


@tokens_.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it may do; repeatable.",
)
@click.option("--app", "apps", multiple=True, help="Only for this app; repeatable.")
@click.option(
    "--days",
    type=Whole(1, 3650),
    default=None,
    help="Days it is valid; by default for ever.",
)
@server_options
@output_options
def create(
    name: str,
    scopes: tuple[str, ...],
    apps: tuple[str, ...],
    days: int | None,
    selection: Selection,
    output: Output,
) -> None:
    """Create a token. It is shown once, on stdout, and stored nowhere in clear."""
    expires = None if days is None else datetime.now(UTC) + timedelta(days=days)
    token = _asked(
        selection, lambda client: client.create_token(name, scopes, apps, expires)
    )
    if output.as_json:
        output.json({"name": name, "token": token})
        return
    output.line(token)
    output.note(f"this is the only time that {name} is shown")


@tokens_.command("revoke")
@click.argument("name")
@server_options
@output_options
def revoke(name: str, selection: Selection, output: Output) -> None:
    """Revoke a token at once."""
    _asked(selection, lambda client: client.revoke_token(name))
    if output.as_json:
        output.json({"name": name, "revoked": True})
    output.success(f"token {name} is revoked")


@tokens_.command("audit")
@click.option(
    "--limit",
    default=100,
    show_default=True,
    type=Whole(1, 1000),
    help="How many to show, newest first.",
)
@server_options
@output_options
def audit(limit: int, selection: Selection, output: Output) -> None:
    """Show what was done on a server, by which token, newest first."""
    found = _asked(selection, lambda client: client.audit(limit))
    if output.as_json:
        output.json(found)
        return
    now = datetime.now(UTC)
    output.table(
        ["WHEN", "TOKEN", "FROM", "ACTION", "SUBJECT", "RESULT"],
        [
            [
                _when(one.get("at"), now),
                *(str(one.get(key) or "-") for key in ("token", "address", "action")),
                *(str(one.get(key) or "-") for key in ("subject", "result")),
            ]
            for one in found
        ],
    )


def _asked(selection: Selection, ask: Any) -> Any:
    """Return what one server answers."""
    project, one = only_server(selection)

    async def carry_out(reactor: Any) -> Any:
        try:
            return await ask(client_for(reactor, project, one, selection.limit_s))
        except NotFound as problem:
            raise NotFound(f"{one.server}: {problem}") from None

    return run(carry_out)


def _when(text: object, now: datetime) -> str:
    at = parse_time(text)
    return "-" if at is None else ago(at, now)


def _state(one: dict[str, Any], now: datetime) -> str:
    if one.get("revokedAt"):
        return f"revoked {_when(one['revokedAt'], now)}"
    expires = parse_time(one.get("expiresAt"))
    if expires is not None and expires <= now:
        return "expired"
    return "valid"
