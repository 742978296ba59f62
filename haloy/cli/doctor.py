"""C{haloy doctor}: why something does not work, and what to do next."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click

from haloy.cli import diagnosis
from haloy.cli.context import (
    Project,
    Selected,
    by_server,
    choose_servers,
    client_for,
    has_config,
    load_project,
)
from haloy.cli.diagnosis import Check, Level
from haloy.cli.exits import ERROR, OK
from haloy.cli.options import Selection, output_options, server_options
from haloy.cli.output import Output
from haloy.cli.running import run
from haloy.cli.version import installed
from haloy.config.images import should_build
from haloy.config.validate import validate_target
from haloy.errors import ConfigError, HaloyError, InvalidValue, NotFound, Unauthorized

_MARKS = {
    Level.OK: ("✔", "green"),
    Level.WARN: ("⚠", "yellow"),
    Level.FAIL: ("✖", "red"),
}


@click.command("doctor")
@server_options
@output_options
def doctor_(selection: Selection, output: Output) -> None:
    """Check everything between this machine and a running app.

    Configuration, Docker, DNS, ports, certificates, clocks, versions, tokens: each
    with what to do next. The exit code is 1 if something does not work.
    """
    checks: list[tuple[str, Check]] = []

    def tell(where: str, check: Check) -> None:
        checks.append((where, check))
        _show(where, check, output)

    project, chosen = _configuration(selection, tell)
    groups = by_server(chosen)
    clear = []
    for server, group in groups.items():
        found = list(_from_outside(project, server, group))
        for check in found:
            tell(server, check)
        if not any(_blocks(check) for check in found):
            clear.append(server)

    async def ask(reactor: Any) -> None:
        for server in clear:
            async for check in _from_inside(
                reactor, project, groups[server], selection.limit_s
            ):
                tell(server, check)

    if clear:
        run(ask)
    failed = [check for _, check in checks if check.level is Level.FAIL]
    if output.as_json:
        output.json(
            {
                "ok": not failed,
                "checks": [_report(where, check) for where, check in checks],
            }
        )
    elif not failed:
        output.success("everything that was looked at works")
    raise SystemExit(ERROR if failed else OK)


def _configuration(selection: Selection, tell: Any) -> tuple[Project, list[Selected]]:
    """Look at the configuration; return what there is to look at behind it."""
    if selection.server or not has_config(selection):
        project, chosen = choose_servers(selection)
        tell("here", diagnosis.docker_here(needed=False))
        return project, chosen
    project = load_project(selection.config)
    everything = selection.everything or not selection.names
    chosen = project.select(selection.names, everything)
    wrong = [str(problem) for problem in _wrong(project, chosen)]
    if wrong:
        text = "; ".join(wrong)
        tell("here", Check("configuration", Level.FAIL, text, "correct it"))
    else:
        tell("here", Check("configuration", Level.OK, f"{project.path} is valid"))
    builds = any(
        one.target.image is not None and should_build(one.target.image)
        for one in chosen
    )
    tell("here", diagnosis.docker_here(needed=builds))
    return project, chosen


def _wrong(project: Project, chosen: list[Selected]) -> Iterator[ConfigError]:
    for one in chosen:
        try:
            validate_target(one.target)
        except InvalidValue as problem:
            yield project.located(problem, one.name)


def _from_outside(
    project: Project, server: str, group: list[Selected]
) -> Iterator[Check]:
    """Yield what can be seen of a server without a token."""
    entry = project.servers.servers.get(server)
    ca_file = (entry.ca_file if entry else "") or os.environ.get("SSL_CERT_FILE", "")
    now = datetime.now(UTC)
    proxy = diagnosis.proxy_to_server(server, os.environ)
    if proxy is not None:
        yield proxy
        if proxy.level is Level.OK:
            yield from diagnosis.health_of_server(server, ca_file, now)
    else:
        yield from _directly(server, ca_file, now)
    names = dict.fromkeys(
        name
        for one in group
        for entry in one.target.domains or ()
        for name in (entry.domain, *(entry.aliases or ()))
    )
    for domain in names:
        yield diagnosis.domain(domain, server)


def _directly(server: str, ca_file: str, now: datetime) -> Iterator[Check]:
    """Yield what can be seen of a server that no proxy stands before."""
    name = diagnosis.name_of_server(server)
    yield name
    if name.level is not Level.OK:
        return
    port = diagnosis.port_of_server(server)
    yield port
    if port.level is Level.OK:
        certificate = diagnosis.certificate_of_server(server, ca_file, now)
        if certificate is not None:
            yield certificate
    yield from diagnosis.health_of_server(server, ca_file, now)


def _blocks(check: Check) -> bool:
    """Return whether nothing can be asked of the server."""
    return check.level is Level.FAIL and not check.name.startswith("domain ")


async def _from_inside(
    reactor: Any, project: Project, group: list[Selected], limit_s: float
) -> Any:
    """Yield what a server says itself, to who has a token."""
    try:
        client = client_for(reactor, project, group[0], limit_s)
        version = await client.version()
    except (Unauthorized, ConfigError, InvalidValue) as problem:
        step = "haloy server add URL TOKEN --force, with a token of that server"
        yield Check("token", Level.FAIL, str(problem), step)
        return
    except HaloyError as problem:
        yield Check("haloyd", Level.FAIL, str(problem), "see the checks above")
        return
    yield Check("token", Level.OK, "is accepted")
    try:
        ready = await client.health()
    except HaloyError:
        ready = {}  # a Go daemon does not tell
    for check in diagnosis.answers_of_server(version, ready, installed()):
        yield check
    for one in group:
        if not one.target.name:
            continue
        try:
            status = await client.status(one.app)
        except NotFound:
            yield Check(f"app {one.app}", Level.WARN, "does not run", "haloy deploy")
            continue
        except HaloyError as problem:
            yield Check(f"app {one.app}", Level.FAIL, str(problem), "haloy status")
            continue
        yield _app(one.app, status)
        for check in diagnosis.certificates_of_app(status):
            yield check


def _app(app: str, status: dict[str, Any]) -> Check:
    sick = [
        f"{one.get('name')}: {(one.get('health') or {}).get('reason') or 'unhealthy'}"
        for one in status.get("replicas") or []
        if (one.get("health") or {}).get("verdict") == "unhealthy"
    ]
    if sick:
        step = "haloy logs --all-containers"
        return Check(f"app {app}", Level.FAIL, "; ".join(sick), step)
    state = str(status.get("state"))
    level = Level.OK if state == "running" else Level.FAIL
    return Check(f"app {app}", level, state, "" if level is Level.OK else "haloy logs")


def _show(where: str, check: Check, output: Output) -> None:
    if output.quiet and check.level is Level.OK:
        return
    mark, colour = _MARKS[check.level]
    name = click.style(check.name, bold=True)
    output.line(f"{click.style(mark, fg=colour)} {where}: {name}: {check.text}")
    if check.level is not Level.OK and check.next_step:
        output.line(f"    → {check.next_step}")


def _report(where: str, check: Check) -> dict[str, Any]:
    return {
        "where": where,
        "check": check.name,
        "state": check.level.value,
        "text": check.text,
        "next": check.next_step or None,
    }
