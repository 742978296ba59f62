"""The daemon's configuration and token, as they are on disk.

A bad C{haloyd.yaml} is never moved or replaced: the daemon starts from the last
good copy in the data directory and says so; without such a copy it does not start.
"""

from __future__ import annotations

import os
from pathlib import Path

from attrs import frozen

from haloy.config.daemon_file import DaemonFile, parse_daemon_file
from haloy.config.env_files import read_env_file
from haloy.config.private import write_private
from haloy.daemon.paths import Directories
from haloy.errors import ConfigError

TOKEN = "HALOY_API_TOKEN"  # noqa: S105  (the variable's name, not a token)


@frozen
class Settings:
    """What the daemon runs by; C{problem} is why it is not the file as it stands."""

    file: DaemonFile
    problem: str = ""


def read_settings(chosen: Directories) -> DaemonFile:
    """Return C{haloyd.yaml}; a missing file is all defaults.

    @raise ConfigError: it is not right; the text has file and line.
    """
    return _parse(chosen.config_file)


def start_settings(chosen: Directories) -> Settings:
    """Return what to start by, and keep a copy of a good file.

    @raise ConfigError: the file is bad and there is no good copy of it.
    """
    found = present_settings(chosen)
    if found.problem:
        return found
    if chosen.config_file.exists():
        write_private(chosen.last_good_config, chosen.config_file.read_bytes())
    return found


def present_settings(chosen: Directories) -> Settings:
    """Return what a daemon that starts now would run by; write nothing.

    @raise ConfigError: the file is bad and there is no good copy of it.
    """
    try:
        return Settings(read_settings(chosen))
    except ConfigError as problem:
        if not chosen.last_good_config.exists():
            raise
        return Settings(_parse(chosen.last_good_config), str(problem))


def read_environment(chosen: Directories) -> dict[str, str]:
    """Return the environment with the files C{.env} and C{.env.local}.

    C{./.env} and C{<config>/.env} fill in what is not set, in this order; then
    C{./.env.local} and C{<config>/.env.local} override (C{spec/daemon.md} 3.3).
    """
    environment = dict(os.environ)
    for folder in (Path(), chosen.config):
        for name, value in read_env_file(folder / ".env").items():
            environment.setdefault(name, value)
    for folder in (Path(), chosen.config):
        environment |= read_env_file(folder / ".env.local")
    return environment


def read_token(chosen: Directories) -> str:
    """Return the first admin token. @raise ConfigError: there is none."""
    token = read_environment(chosen).get(TOKEN, "")
    if not token:
        raise ConfigError(
            f"{TOKEN} is not set; run `haloyd init`, or set it there",
            path=str(chosen.env_file),
        )
    return token


def _parse(path: Path) -> DaemonFile:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return DaemonFile()
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"cannot be read: {problem}", path=str(path)) from problem
    return parse_daemon_file(text, str(path))
