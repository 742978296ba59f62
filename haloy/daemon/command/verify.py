"""C{haloyd verify}: is this server ready to serve? Every check with its next step."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click
from attrs import frozen

from haloy.config.client_file import split_server
from haloy.config.daemon_file import DaemonFile
from haloy.daemon.command.engine import ask_engine
from haloy.daemon.command.options import directories, directory_options
from haloy.daemon.command.output import json_option
from haloy.daemon.paths import Directories
from haloy.daemon.settings import (
    present_settings,
    read_settings,
    read_token_hash,
)
from haloy.deploy.instances import only_others
from haloy.deploy.space import disk_of
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.labels import MANAGED_BY
from haloy.model.names import DEFAULT_NETWORK
from haloy.store.instance import kept_name

LIMIT_S: Final = 10.0
#: Parts that C{/health/ready} tells of, and what to do when one does not work.
_PARTS: Final = {
    "docker": "start Docker; haloyd goes on by itself when it answers",
    "proxy": "`systemctl status haloy-proxy`, `journalctl -u haloy-proxy`",
    "database": "look at the disk (`df -h`) and the log (`journalctl -u haloyd`)",
    "config": "correct haloyd.yaml, then `systemctl reload haloyd`",
}


@frozen
class Check:
    """One thing looked at; C{problem} is empty when it is as it should be."""

    name: str
    problem: str = ""
    next_step: str = ""

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problem


@click.command()
@directory_options
@json_option
def verify(config_dir: str | None, data_dir: str | None, as_json: bool) -> None:
    """Check directories, files, token, disk, Docker, network, and what haloyd says."""
    chosen = directories(config_dir, data_dir)
    checks = [
        *check_directories(chosen),
        *check_files(chosen),
        check_disk(chosen),
        *ask_engine(lambda engine: check_docker(engine, chosen)),
        *check_daemon(chosen),
    ]
    failed = [check for check in checks if not check.passed]
    if as_json:
        report = {"ok": not failed, "checks": [_report(check) for check in checks]}
        click.echo(json.dumps(report))
    else:
        for check in checks:
            click.echo(_line(check))
        click.echo(f"{len(checks) - len(failed)} passed, {len(failed)} failed")
    if failed:
        sys.exit(1)


def check_directories(chosen: Directories) -> list[Check]:
    """Return what is wrong with the two directories."""
    return [
        _check(
            f"configuration directory {chosen.config}",
            None if chosen.config.is_dir() else "does not exist",
            "run `haloyd init`",
        ),
        _check(
            f"data directory {chosen.data}",
            _mode_problem(chosen.data),
            f"run `haloyd init`, or `chmod 700 {chosen.data}`",
        ),
    ]


def check_files(chosen: Directories) -> list[Check]:
    """Return what is wrong with C{haloyd.yaml} and the token."""
    return [
        _check(
            f"{chosen.config_file}",
            _trouble(lambda: read_settings(chosen)),
            "correct the file; the daemon goes on with the last good copy meanwhile",
        ),
        _check(
            "API token",
            _trouble(lambda: read_token_hash(chosen)),
            f"put HALOY_API_TOKEN into {chosen.env_file}, or run `haloyd init`",
        ),
    ]


async def check_docker(engine: Engine, chosen: Directories) -> list[Check]:
    """Return whether Docker answers, has our network, and what we have made."""
    mine = kept_name(chosen.instance, chosen.instance_copy)
    try:
        info = await engine.info()
        made = await engine.containers({MANAGED_BY: None})
    except HaloyError as problem:
        return [Check("Docker", str(problem), "start Docker, check DOCKER_HOST")]
    return [
        Check(f"Docker {info.version} ({info.os}/{info.architecture})"),
        _check(
            f"network {DEFAULT_NETWORK}",
            None if await engine.has_network(DEFAULT_NETWORK) else "does not exist",
            "run `haloyd init`",
        ),
        _check(
            "containers",
            only_others(made, mine or "which has no name yet"),
            "`haloyd adopt` lists them; whose they are, you have to say",
        ),
    ]


def check_disk(chosen: Directories) -> Check:
    """Return whether the disk of the data is full: haloyd prunes at that mark."""
    name = f"room for {chosen.data}"
    mark = _settings(chosen).disk.prune_percent
    try:
        percent = disk_of(chosen.data).percent_used
    except OSError as problem:
        return Check(name, problem.strerror or "", "run `haloyd init`")
    return _check(
        name,
        f"the disk is {percent} % full" if percent >= mark else None,
        "`haloy prune-images` removes old images; `df -h`, `docker system df`",
    )


def check_daemon(chosen: Directories) -> list[Check]:
    """Return whether the daemon answers on loopback, and what it says of its parts."""
    listen = _settings(chosen).api.listen
    name = f"API at {listen}"
    host, port = split_server(listen)
    connection = http.client.HTTPConnection(
        host or "127.0.0.1", port or 0, timeout=LIMIT_S
    )
    try:
        connection.request("GET", "/health/ready")
        answer = connection.getresponse()
        told = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as problem:
        reason = getattr(problem, "strerror", None) or str(problem)
        return [
            Check(name, reason, "`systemctl start haloyd`, then `journalctl -u haloyd`")
        ]
    finally:
        connection.close()
    return [
        Check(name),
        *(
            _check(f"haloyd's {part}", "" if told[part] == "ok" else told[part], advice)
            for part, advice in _PARTS.items()
            if part in told
        ),
    ]


def _settings(chosen: Directories) -> DaemonFile:
    """Return what the daemon runs by, as far as it can be known."""
    try:
        return present_settings(chosen).file
    except HaloyError:
        return DaemonFile()


def _mode_problem(path: Path) -> str | None:
    if not path.is_dir():
        return "does not exist"
    mode = path.stat().st_mode & 0o777
    return None if mode == 0o700 else f"has mode {mode:04o}, wanted 0700"


def _trouble(look: Callable[[], object]) -> str | None:
    try:
        look()
    except HaloyError as problem:
        return str(problem)
    return None


def _report(check: Check) -> dict[str, str]:
    return {"name": check.name, "problem": check.problem, "next": check.next_step}


def _check(name: str, problem: str | None, next_step: str) -> Check:
    return Check(name, problem, next_step) if problem else Check(name)


def _line(check: Check) -> str:
    if check.passed:
        return click.style("✔ ", fg="green") + check.name
    mark = click.style("✖ ", fg="red")
    return f"{mark}{check.name}: {check.problem}\n    → {check.next_step}"
