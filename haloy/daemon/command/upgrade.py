"""C{haloyd upgrade}: another version beside this one, checked, then switched to.

C{/opt/haloy/venv} is a link to one of C{/opt/haloy/venvs/}; switching replaces the
link at once. A version that does not become healthy is switched back by itself.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from attrs import define, frozen

from haloy.config.private import stamp
from haloy.config.units import show_size
from haloy.daemon.command.daemon import LocalDaemon, NotRunning
from haloy.daemon.command.options import directories, directory_options
from haloy.daemon.command.output import json_option, tell
from haloy.daemon.dataplane import is_split
from haloy.daemon.paths import Directories
from haloy.daemon.settings import present_settings
from haloy.deploy.space import disk_of
from haloy.errors import Conflict, HaloyError, InsufficientStorage, InvalidValue

PREFIX = "/opt/haloy"
RESTART = "systemctl restart haloyd"
RESTART_PROXY = "systemctl restart haloy-proxy"
PROXY_STAYS = (
    "haloy-proxy still serves by the version before; "
    "`systemctl reload haloy-proxy` lets it go over, and no request is lost."
)
HEALTHY_LIMIT_S = 90.0
#: An environment takes 130 MiB; also in install.sh.
NEEDED_BYTES = 200 << 20


@frozen
class Version:
    """What the haloyd of an environment says of itself.

    @ivar schema: how it talks with haloy-proxy.
    @ivar form: whether its proxy is compiled, C{""} where it does not say.
    """

    environment: Path
    name: str
    schema: int
    form: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.form} proxy)" if self.form else self.name


@click.command()
@directory_options
@click.argument("what", metavar="WHEEL|REQUIREMENT")
@click.option("--sha256", metavar="HEX", help="The SHA-256 that the wheel must have.")
@click.option(
    "--find-links", metavar="DIR", help="Take packages from DIR, not from an index."
)
@click.option(
    "--prefix",
    default=PREFIX,
    show_default=True,
    metavar="DIR",
    help="Where the environments of the versions are.",
)
@click.option(
    "--restart",
    default=RESTART,
    show_default=True,
    metavar="COMMAND",
    help="How to restart the daemon.",
)
@click.option(
    "--restart-proxy",
    default=RESTART_PROXY,
    show_default=True,
    metavar="COMMAND",
    help="How to restart haloy-proxy, where the new version needs it.",
)
@json_option
def upgrade(
    config_dir: str | None,
    data_dir: str | None,
    what: str,
    sha256: str | None,
    find_links: str | None,
    prefix: str,
    restart: str,
    restart_proxy: str,
    as_json: bool,
) -> None:
    """Install WHEEL (or a pip requirement), check it, switch to it.

    If haloyd is not healthy with it within 90 s, the previous version is started
    again and the command fails. haloy-proxy keeps serving; it is restarted only if it
    would not understand the new haloyd.
    """
    chosen = directories(config_dir, data_dir)
    verify_wheel(what, sha256)
    place = Environments(Path(prefix))
    click.get_current_context().with_resource(place.alone())
    new = place.fresh(datetime.now(UTC))
    try:
        install(new, what, find_links)
        before, after = version_of(place.current()), version_of(new)
        check(new, chosen)
        commands = [restart]
        split = is_split(present_settings(chosen).file.proxy)
        if split and before.schema != after.schema:
            commands.insert(0, restart_proxy)
        switch(place, before, after, lambda: _restart(commands), healthy(chosen))
    except BaseException:
        if place.current() != new:
            shutil.rmtree(new, ignore_errors=True)
        raise
    place.forget(before.environment)
    tell(
        {
            "before": before.name,
            "after": after.name,
            "beforeForm": before.form,
            "afterForm": after.form,
            "kept": str(before.environment),
        },
        [
            f"haloyd {after} runs; {before} was before.",
            f"It is kept in {before.environment}.",
            *([PROXY_STAYS] if split and restart_proxy not in commands else []),
        ],
        as_json,
    )


@define
class Environments:
    """C{PREFIX/venv}, the link, and C{PREFIX/venvs/}, what it may lead to."""

    prefix: Path

    @property
    def link(self) -> Path:
        """What units and people name."""
        return self.prefix / "venv"

    def current(self) -> Path:
        """Return the environment in use. @raise Conflict: it is not a link."""
        if not self.link.is_symlink():
            raise Conflict(
                f"{self.link} is not a link to an environment: this haloyd was not "
                "installed by install.sh, upgrade it by the way it was installed"
            )
        return self.link.resolve()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Let nobody else upgrade meanwhile; install.sh takes the same lock.

        @raise Conflict: somebody does already, or there is no such folder.
        """
        self.current()
        handle = os.open(self.prefix, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(
                    f"another upgrade is under way in {self.prefix}; wait for its end"
                ) from None
            yield
        finally:
            os.close(handle)

    def fresh(self, now: datetime) -> Path:
        """Return where the next one goes.

        @raise InsufficientStorage: there is no room for it; pip would not say so.
        """
        self.current()
        folder = self.prefix / "venvs"
        free = disk_of(folder).free
        if free < NEEDED_BYTES:
            raise InsufficientStorage(
                f"{folder} has {show_size(free)} left, and a version needs "
                f"{show_size(NEEDED_BYTES)}: make room on that disk first"
            )
        names = (f"{stamp(now)}{part}" for part in ("", *"abcdefgh"))
        return next(folder / name for name in names if not (folder / name).exists())

    def use(self, environment: Path) -> None:
        """Let the link lead to C{environment}, at once."""
        beside = self.link.with_name(".venv.new")
        beside.unlink(missing_ok=True)
        beside.symlink_to(environment)
        beside.replace(self.link)

    def forget(self, before: Path, processes: Path = Path("/proc")) -> None:
        """Remove all but the one in use, that C{before} it, and those that still run.

        What an interrupted installation has left is newer than C{before} and is of no
        use. A haloy-proxy that was not reloaded since runs from the environment it was
        started in.
        """
        kept = {self.current(), before.resolve()}
        for one in (self.prefix / "venvs").iterdir():
            if one.resolve() not in kept and not runs_from(one, processes):
                shutil.rmtree(one, ignore_errors=True)


def runs_from(environment: Path, processes: Path) -> bool:
    """Return whether a process has libraries of C{environment} in its memory."""
    named = f"{environment}/".encode()
    for maps in processes.glob("[0-9]*/maps"):
        try:
            if named in maps.read_bytes():
                return True
        except OSError:  # it has ended, or is not ours to look at
            continue
    return False


def verify_wheel(what: str, sha256: str | None) -> None:
    """@raise InvalidValue: there is no such wheel, or it is another one."""
    if not what.endswith(".whl"):
        if sha256:
            raise InvalidValue("is for a wheel", field="--sha256")
        return
    try:
        found = hashlib.sha256(Path(what).read_bytes()).hexdigest()
    except OSError as problem:
        raise InvalidValue(f"{what}: {problem.strerror}", field="WHEEL") from problem
    if sha256 and found != sha256.lower():
        raise InvalidValue(
            f"{what} has the SHA-256 {found}: it is not the wheel that is meant",
            field="--sha256",
        )


def install(new: Path, what: str, find_links: str | None) -> None:
    """Make the environment. @raise HaloyError: pip did not manage; its words."""
    base = Path(sys.base_prefix) / "bin" / Path(sys.executable).name
    python = str(base if base.exists() else sys.executable)
    _run([python, "-m", "venv", str(new)])
    source = ["--no-index", "--find-links", find_links] if find_links else []
    pip = [str(new / "bin" / "python"), "-m", "pip", "--quiet"]
    _run([*pip, "--disable-pip-version-check", "install", *source, what])
    # Lists the plugins, too: twistd's cache of them is written now, later it cannot be.
    _run([str(new / "bin" / "twistd"), "haloyd", "--help"])


def check(new: Path, chosen: Directories) -> None:
    """@raise HaloyError: the new version refuses the configuration."""
    _run(
        [
            str(new / "bin" / "haloyd"),
            "config",
            "check",
            "--config-dir",
            str(chosen.config),
            "--data-dir",
            str(chosen.data),
        ]
    )


def switch(
    place: Environments,
    before: Version,
    after: Version,
    restart: Callable[[], None],
    is_healthy: Callable[[str], str],
) -> None:
    """Go over to C{after}; back again if it does not become healthy.

    @param is_healthy: waits for a version, returns what is wrong, C{""}: nothing.
    @raise HaloyError: it did not; C{before} runs again.
    """
    place.use(after.environment)
    try:
        restart()
        problem = is_healthy(after.name)
    except HaloyError as failed:
        problem = str(failed)
    if not problem:
        return
    place.use(before.environment)
    restart()
    now = is_healthy(before.name)
    state = (
        f"haloyd {before.name} runs again" if not now else f"{before.name}, too: {now}"
    )
    raise HaloyError(f"haloyd {after.name} did not become healthy: {problem}; {state}")


def version_of(environment: Path) -> Version:
    """Return the version in C{environment}. @raise HaloyError: it cannot start."""
    text = _run([str(environment / "bin" / "haloyd"), "version", "--json"])
    told: Mapping[str, Any] = json.loads(text)
    schema = int(told.get("required_proxy_schema_version", 1))
    form = str(told.get("proxy_form", ""))
    return Version(environment, str(told["version"]), schema, form)


def healthy(
    chosen: Directories, limit_s: float = HEALTHY_LIMIT_S
) -> Callable[[str], str]:
    """Return what waits until the daemon of C{chosen} is a version and is ready."""

    def wait(version: str) -> str:
        daemon = LocalDaemon(present_settings(chosen).file.api.listen, "")
        deadline = time.monotonic() + limit_s
        problem = "it does not answer"
        while time.monotonic() < deadline:
            try:
                running = daemon.ask("GET", "/health").get("version")
                if running == version:
                    daemon.ask("GET", "/health/ready")
                    return ""
                problem = f"version {running} answers"
            except NotRunning as away:
                problem = str(away)
            except HaloyError as unready:
                problem = str(unready)
            time.sleep(0.2)  # noqa: TID251  (no reactor runs in this command)
        return problem

    return wait


def _restart(commands: Sequence[str]) -> None:
    for command in commands:
        _run(shlex.split(command))


def _run(command: list[str]) -> str:
    try:
        # The users of the services must be able to read what is installed.
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, umask=0o022
        )
    except OSError as problem:
        raise HaloyError(f"{command[0]}: {problem.strerror}") from problem
    if done.returncode:
        told = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise HaloyError(f"{' '.join(command[:4])} failed: {' / '.join(told)}")
    return done.stdout
