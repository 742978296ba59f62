"""C{haloyd verify}: is this server ready to serve? Every check with its next step."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import click
from attrs import asdict, frozen

from haloy.config.daemon_file import DaemonFile
from haloy.daemon.command.engine import ask_engine
from haloy.daemon.command.init import NETWORK
from haloy.daemon.command.options import directories, directory_options
from haloy.daemon.paths import Directories
from haloy.daemon.settings import read_settings, read_token_hash
from haloy.engine.interface import Engine
from haloy.errors import HaloyError


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
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def verify(config_dir: str | None, data_dir: str | None, as_json: bool) -> None:
    """Check directories, configuration, token, Docker, network and the API."""
    chosen = directories(config_dir, data_dir)
    checks = [
        *check_directories(chosen),
        *check_files(chosen),
        *ask_engine(check_docker),
        check_api(chosen),
    ]
    failed = [check for check in checks if not check.passed]
    if as_json:
        report = {"ok": not failed, "checks": [asdict(check) for check in checks]}
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


async def check_docker(engine: Engine) -> list[Check]:
    """Return whether Docker answers and has our network."""
    try:
        info = await engine.info()
    except HaloyError as problem:
        return [Check("Docker", str(problem), "start Docker, check DOCKER_HOST")]
    return [
        Check(f"Docker {info.version} ({info.os}/{info.architecture})"),
        _check(
            f"network {NETWORK}",
            None if await engine.has_network(NETWORK) else "does not exist",
            "run `haloyd init`",
        ),
    ]


def check_api(chosen: Directories) -> Check:
    """Return whether the daemon's API answers on loopback."""
    try:
        settings = read_settings(chosen)
    except HaloyError:
        settings = DaemonFile()
    url = f"http://{settings.api.listen}/health"
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            problem = None if answer.status == 200 else f"answered {answer.status}"
    except OSError as refused:
        problem = str(getattr(refused, "reason", refused))
    return _check(
        f"API at {settings.api.listen}", problem, "start the daemon and read its log"
    )


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


def _check(name: str, problem: str | None, next_step: str) -> Check:
    return Check(name, problem, next_step) if problem else Check(name)


def _line(check: Check) -> str:
    if check.passed:
        return click.style("✔ ", fg="green") + check.name
    mark = click.style("✖ ", fg="red")
    return f"{mark}{check.name}: {check.problem}\n    → {check.next_step}"
