"""C{haloyd certs}: how it stands with certificates, renewing, importing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from haloy.certs.files import CertificateFiles
from haloy.daemon.command.daemon import NotRunning, local_daemon
from haloy.daemon.command.options import as_owner, directories, directory_options
from haloy.daemon.command.output import json_option, tell, tell_table
from haloy.daemon.command.owner import become_owner
from haloy.daemon.paths import Directories
from haloy.errors import HaloyError, InvalidValue, blamed
from haloy.groups import SuggestingGroup
from haloy.model.names import parse_domain_name


@click.group(cls=SuggestingGroup)
def certs() -> None:
    """List, renew and import certificates."""


@certs.command("list")
@as_owner
@json_option
def listing(chosen: Directories, as_json: bool) -> None:
    """List the certificates; while haloyd does not run, their files."""
    try:
        found = local_daemon(chosen).ask("GET", "/v1/certificates")["certificates"]
    except NotRunning:
        found = _of_files(chosen)
    rows = [
        (one["name"], one["state"], one.get("notAfter", "-"), one.get("reason", ""))
        for one in found
    ]
    names = ("NAME", "STATE", "ENDS", "REASON")
    tell_table({"certificates": found}, names, rows, as_json)


@certs.command()
@as_owner
@click.argument("name")
@json_option
def show(chosen: Directories, name: str, as_json: bool) -> None:
    """Show all that is known about the certificate for NAME."""
    domain = parse_domain_name(name, "name", wildcard=True)
    found = local_daemon(chosen).ask("GET", f"/v1/certificates/{domain}")
    tell(found, (f"{key}: {_shown(value)}" for key, value in found.items()), as_json)


@certs.command()
@as_owner
@click.argument("name")
@json_option
def renew(chosen: Directories, name: str, as_json: bool) -> None:
    """Order a certificate for NAME now, whatever is held and has failed before.

    The authority's limits still hold; `haloyd certs show` says what it waits for.
    """
    domain = parse_domain_name(name, "name", wildcard=True)
    found = local_daemon(chosen).ask("POST", f"/v1/certificates/{domain}/renew")
    lines = [f"A certificate for {domain} is asked for; see `haloyd certs show`."]
    tell(found, lines, as_json)


@certs.command("import")
@directory_options
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@json_option
def import_file(
    config_dir: str | None,
    data_dir: str | None,
    name: str,
    file: str,
    as_json: bool,
) -> None:
    """Serve NAME with the private key and the chain in FILE (PEM) from now on."""
    pem = Path(file).read_text(encoding="ascii", errors="replace")
    chosen = directories(config_dir, data_dir)
    become_owner(chosen)
    domain = parse_domain_name(name, "name", wildcard=True)
    if not pem.strip():
        raise InvalidValue("is empty", field=file)
    try:
        path = f"/v1/certificates/{domain}"
        found = local_daemon(chosen).ask("POST", path, {"pem": pem})
    except HaloyError as problem:
        raise blamed(problem, "pem", file) from None
    tell(found, [f"{domain}: {found.get('state', 'taken')}"], as_json)


def _of_files(chosen: Directories) -> list[dict[str, Any]]:
    held = CertificateFiles(chosen.certificates).load(datetime.now(UTC))
    return [
        {
            "name": str(name),
            "state": "manual" if one.manual else "held",
            "notAfter": one.not_after.isoformat(),
        }
        for name, one in sorted(held.items())
    ]


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
