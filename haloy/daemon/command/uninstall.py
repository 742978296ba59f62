"""C{haloyd uninstall}: takes the program away; apps and data stay unless told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import click

from haloy.daemon.command.engine import ask_engine
from haloy.daemon.command.options import directories, directory_options
from haloy.daemon.command.output import confirm, json_option, tell
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.labels import INSTANCE, MANAGED_BY
from haloy.store.instance import kept_name

UNITS = ("haloyd.service", "haloy-proxy.service", "haloy-proxy.socket")
FILES = (
    *(f"etc/systemd/system/{unit}" for unit in UNITS),
    "etc/systemd/system/haloyd.service.d",
    "etc/sysusers.d/haloy.conf",
    "etc/tmpfiles.d/haloy.conf",
    "etc/init.d/haloyd",
    "usr/local/bin/haloyd",
    "usr/local/bin/haloy",
    "opt/haloy",
)


@click.command()
@directory_options
@click.option("--purge", is_flag=True, help="Delete configuration and data, too.")
@click.option(
    "--remove-apps", is_flag=True, help="Stop and remove the containers, too."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--root", default="/", metavar="DIR", help="Where the system's files are."
)
@json_option
def uninstall(
    config_dir: str | None,
    data_dir: str | None,
    purge: bool,
    remove_apps: bool,
    yes: bool,
    root: str,
    as_json: bool,
) -> None:
    """Stop haloyd and remove it; apps keep running and data stays.

    Without the proxy no request reaches the apps any more.
    """
    chosen = directories(config_dir, data_dir)
    files = [path for path in _installed(Path(root)) if _there(path)]
    if purge:
        files += [path for path in (chosen.config, chosen.data) if path.exists()]
    if not yes:
        for path in files:
            click.echo(f"  {path}")
        parts = ["stop haloyd"]
        parts += ["delete these"] if files else []
        parts += ["delete all containers of its apps"] if remove_apps else []
        confirm(f"{' and '.join(parts).capitalize()}?")
    stopped = stop_units()
    removed: list[str] = []
    if remove_apps:
        ours = kept_name(chosen.instance, chosen.instance_copy)
        removed = ask_engine(lambda engine: remove_containers(engine, ours))
    for path in files:
        remove(path)
    if stopped:
        _systemctl("daemon-reload")
    kept = [str(path) for path in (chosen.config, chosen.data) if path.exists()]
    tell(
        {"removed": [str(path) for path in files], "containers": removed, "kept": kept},
        [
            f"Removed {len(files)} files and folders, {len(removed)} containers.",
            *(f"Kept: {path}" for path in kept),
        ],
        as_json,
    )


def stop_units() -> bool:
    """Stop and disable the units; return whether systemd runs here."""
    if not Path("/run/systemd/system").is_dir():
        return False
    for unit in UNITS:
        _systemctl("disable", "--now", unit)
    return True


async def remove_containers(engine: Engine, instance: str) -> list[str]:
    """Stop and remove the containers that this haloyd made; return their names.

    Those of another haloyd on the same Docker stay.
    """
    names = []
    for one in await engine.containers({MANAGED_BY: "haloyd"}):
        if one.labels.get(INSTANCE, "") not in ("", instance):
            continue
        await engine.stop(one.id, 10)
        await engine.remove(one.id)
        names.append(one.name)
    return names


def remove(path: Path) -> None:
    """Delete a file, a link, or a folder. @raise HaloyError: it cannot be."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as problem:
        raise HaloyError(f"{path} stays: {problem.strerror}; run as root") from problem


def _installed(root: Path) -> list[Path]:
    return [root / name for name in FILES]


def _there(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _systemctl(*arguments: str) -> None:
    subprocess.run(["systemctl", *arguments], capture_output=True, check=False)
