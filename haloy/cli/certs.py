"""C{haloy certs}: the certificates of a server."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from twisted.internet.task import deferLater

from haloy.cli.ages import parse_time, until
from haloy.cli.context import Project, Selected, client_for, only_server
from haloy.cli.options import Selection, output_options, server_options
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.config.app_file import ValueFrom, ValueSource
from haloy.config.secrets import Secrets
from haloy.errors import CertificateError, InvalidValue, blamed
from haloy.groups import SuggestingGroup

#: How often to ask while one is being ordered, and for how long.
POLL_S = 1.0
WAIT_S = 180.0


@click.group("certs", cls=SuggestingGroup)
def certs_() -> None:
    """List, show, renew and import a server's certificates."""


@certs_.command("list")
@server_options
@output_options
def list_(selection: Selection, output: Output) -> None:
    """List the domains of a server and the state of their certificates."""
    found = _asked(selection, lambda calls, _: calls.list())
    if output.as_json:
        output.json(found)
        return
    if not found:
        output.info("no app has a domain yet")
        return
    now = datetime.now(UTC)
    output.table(
        ["DOMAIN", "ALIASES", "STATE", "UNTIL", "NEXT TRY", "REASON"],
        [
            [
                str(one.get("name")),
                ", ".join(one.get("aliases") or []) or "-",
                str(one.get("state")),
                _day(one.get("notAfter"), now),
                _moment(one.get("nextTry")),
                str(one.get("reason") or "-"),
            ]
            for one in found
        ],
    )


@certs_.command("show")
@click.argument("name")
@server_options
@output_options
def show(name: str, selection: Selection, output: Output) -> None:
    """Show all that is known about a certificate, with the authority's own words."""
    found = _asked(selection, lambda calls, _: calls.show(name))
    if output.as_json:
        output.json(found)
        return
    _show(found, output)


@certs_.command("renew")
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Do not wait for the new certificate.")
@server_options
@output_options
def renew(name: str, no_wait: bool, selection: Selection, output: Output) -> None:
    """Order a certificate for NAME now, whatever is held and has failed before.

    The authority's limits still hold: if it has asked for a pause, or this order would
    be one too many, the order waits, and the command says until when.
    """

    async def ask(calls: Any, reactor: Any) -> dict[str, Any]:
        before: dict[str, Any] = await calls.renew(name)
        if no_wait:
            now: dict[str, Any] = await calls.show(name)
            return now
        output.info(f"a certificate for {name} is asked for")
        return await _awaited(calls, reactor, before)

    found = _asked(selection, ask)
    if output.as_json:
        output.json(found)
    elif no_wait and found.get("ordering"):
        output.success(f"a certificate for {name} is being ordered")
    elif no_wait:
        output.warn(f"{name} is not being ordered yet: {_why(found)}")
    else:
        output.success(f"{name} has a new certificate until {found['notAfter'][:10]}")


@certs_.command("import")
@click.argument("name")
@click.argument("files", nargs=-1, type=click.Path(allow_dash=True))
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="PROVIDER:SOURCE:KEY",
    help="Take them from a secret of haloy.yaml instead; repeatable.",
)
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME",
    help="Take them from an environment variable instead; repeatable.",
)
@server_options
@output_options
def import_(
    name: str,
    files: tuple[str, ...],
    secrets: tuple[str, ...],
    variables: tuple[str, ...],
    selection: Selection,
    output: Output,
) -> None:
    """Serve NAME with a certificate of your own.

    FILES hold the private key and the chain as PEM, in one file or several; - is
    stdin.
    """
    if not (files or secrets or variables):
        raise click.UsageError("give FILES, --secret or --env")
    project, one = only_server(selection)
    parts = [_file(path) for path in files]
    parts += [_secret(project, one, ValueFrom(secret=text)) for text in secrets]
    parts += [_secret(project, one, ValueFrom(env=text)) for text in variables]
    pem = "\n".join(part.strip() for part in parts) + "\n"
    try:
        found = _asked(selection, lambda calls, _: calls.put(name, pem))
    except InvalidValue as problem:
        told = ", ".join((*files, *secrets, *variables))
        raise blamed(problem, "pem", told) from None
    if output.as_json:
        output.json(found)
    elif found.get("state") == "unused":
        output.success(f"{found['name']} is kept; no app has this domain yet")
    else:
        output.success(f"{found['name']} is served until {found['notAfter'][:10]}")
        if found.get("reason"):
            output.warn(str(found["reason"]))


# --- asking -----------------------------------------------------------------------


def _asked(selection: Selection, ask: Any) -> Any:
    """Return what one server answers to C{ask(calls, reactor)}."""
    project, one = only_server(selection)

    async def carry_out(reactor: Any) -> Any:
        # Commands that fail before they ask do not pay for it.
        from haloy.api.certificate_calls import CertificateCalls  # noqa: PLC0415

        client = client_for(reactor, project, one, selection.limit_s)
        return await ask(CertificateCalls(client.transport), reactor)

    return run(carry_out)


async def _awaited(calls: Any, reactor: Any, before: dict[str, Any]) -> dict[str, Any]:
    """Return how it stands when the order has ended.

    @raise CertificateError: with no new certificate.
    """
    name = str(before["name"])
    end_s = reactor.seconds() + WAIT_S
    while True:
        await deferLater(reactor, POLL_S)
        found: dict[str, Any] = await calls.show(name)
        if found.get("fingerprint") not in {None, before.get("fingerprint")}:
            return found
        if not found.get("ordering"):
            raise CertificateError(f"no new certificate for {name}: {_why(found)}")
        if reactor.seconds() > end_s:
            raise CertificateError(
                f"{name} is still being ordered after {WAIT_S:g} s; "
                f"`haloy certs show {name}` says more"
            )


def _why(found: dict[str, Any]) -> str:
    """Return why there is none, and when the next try is."""
    reason = str(found.get("reason") or "no reason is known")
    again = _moment(found.get("nextTry"))
    return reason if again == "-" else f"{reason}; next try at {again}"


def _file(path: str) -> str:
    if path == "-":
        return sys.stdin.read()
    try:
        return Path(path).read_text(encoding="ascii")
    except UnicodeDecodeError:
        raise InvalidValue("is no PEM", field=path) from None
    except OSError as problem:
        raise InvalidValue(
            f"cannot be read: {problem.strerror}", field=path
        ) from problem


def _secret(project: Project, one: Selected, source: ValueFrom) -> str:
    secrets = Secrets(
        project.environment(one.name), project.file.secret_providers, project.folder
    )
    return secrets.value(ValueSource(source=source), "import")


# --- telling ----------------------------------------------------------------------


def _day(text: object, now: datetime) -> str:
    return f"{str(text)[:10]} ({until(str(text), now)})" if text else "-"


def _moment(text: object) -> str:
    at = parse_time(text)
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


def _show(one: dict[str, Any], output: Output) -> None:
    now = datetime.now(UTC)
    rows = [
        ("Domain", one.get("name")),
        ("Aliases", ", ".join(one.get("aliases") or [])),
        ("State", one.get("state")),
        ("Reason", one.get("reason")),
        ("Next try", _moment(one.get("nextTry")) if one.get("nextTry") else ""),
        ("Failures", one.get("failures")),
        ("Serves", ", ".join(one.get("names") or [])),
        ("From", str(one.get("notBefore") or "")[:10]),
        ("Until", _day(one.get("notAfter"), now) if one.get("notAfter") else ""),
        ("Issuer", one.get("issuer")),
        ("Authority", one.get("directory")),
        ("SHA-256", one.get("fingerprint")),
    ]
    for title, value in rows:
        if value:
            output.line(f"{title + ':':<11}{value}")
    if one.get("document"):
        output.line("The authority's last problem document:")
        output.line(_indented(str(one["document"])))


def _indented(document: str) -> str:
    try:
        return json.dumps(json.loads(document), indent=2)
    except ValueError:  # cut off at its limit
        return document
