"""The daemon's configuration and token, as they are on disk.

A bad C{haloyd.yaml} is never moved or replaced: the daemon starts from the last
good copy in the data directory and says so; without such a copy it does not start.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from attrs import asdict, frozen
from twisted.logger import Logger

from haloy.api.auth import token_hash
from haloy.config.daemon_file import DaemonFile, parse_daemon_file
from haloy.config.document import parse_document
from haloy.config.env_files import read_env_file
from haloy.config.private import write_private
from haloy.config.reading import read_text
from haloy.daemon.paths import Directories
from haloy.errors import ConfigError

TOKEN = "HALOY_API_TOKEN"  # noqa: S105  (the variable's name, not a token)
#: What C{haloyd init --no-env-token} keeps in its place, in hexadecimal.
TOKEN_HASH = "HALOY_API_TOKEN_SHA256"  # noqa: S105  (as above)
_log = Logger()
_HASH = re.compile(r"[0-9a-fA-F]{64}")


@frozen
class Settings:
    """What the daemon runs by; C{problem} is why it is not the file as it stands."""

    file: DaemonFile
    problem: str = ""


def read_settings(chosen: Directories) -> DaemonFile:
    """Return C{haloyd.yaml}; a missing file is all defaults.

    @raise ConfigError: it is not right; the text has file and line.
    """
    return _read(chosen.config_file)


def parse_settings(text: str, path: Path) -> DaemonFile:
    """Return what C{text} says, which is in C{path} or is to be.

    @raise ConfigError: it is not right, or a C{ca_file} in it cannot be used; the
        text has file and line.
    """
    file = parse_daemon_file(text, str(path))
    for where, one in zip(
        (("acme",), ("acme", "fallback")), file.acme.authorities(), strict=False
    ):
        if not one.ca_file:
            continue
        from haloy.config.trust import trusting  # noqa: PLC0415  (slow, seldom needed)

        try:
            trusting(one.ca_file)
        except ConfigError as problem:
            document = parse_document(text, str(path), "yaml")
            key = (*where, "ca_file")
            raise ConfigError(
                f"{'.'.join(key)}: {problem}", path=str(path), line=document.line(key)
            ) from problem
    return file


def values_of(file: DaemonFile) -> dict[str, Any]:
    """Return every key with its value, as the file would name it."""
    found: dict[str, Any] = {}
    for section, values in asdict(file).items():
        for name, value in values.items():
            key = f"{section}.{name.removesuffix('_s')}"
            found["trusted_proxies" if key == "proxy.trusted_proxies" else key] = value
    return found


def start_settings(chosen: Directories) -> Settings:
    """Return what to start by, and keep a copy of a good file.

    @raise ConfigError: the file is bad and there is no good copy of it.
    """
    found = present_settings(chosen)
    if not found.problem:
        keep_copy(chosen)
    return found


def keep_copy(chosen: Directories) -> None:
    """Keep a copy of the good file that is there; a disk that is full keeps the old."""
    try:
        content = chosen.config_file.read_bytes()
        if _content(chosen.last_good_config) != content:
            write_private(chosen.last_good_config, content)
    except FileNotFoundError:
        return  # all defaults: there is nothing to keep
    except OSError as problem:
        _log.warn(
            "{path} cannot be written: {problem}; an older copy stays",
            path=str(chosen.last_good_config),
            problem=problem.strerror,
        )


def present_settings(chosen: Directories) -> Settings:
    """Return what a daemon that starts now would run by; write nothing.

    @raise ConfigError: the file is bad and there is no good copy of it.
    """
    try:
        return Settings(read_settings(chosen))
    except ConfigError as problem:
        if not chosen.last_good_config.exists():
            raise
        try:
            return Settings(_read(chosen.last_good_config), str(problem))
        except ConfigError:
            raise problem from None  # the file that people correct


def read_environment(chosen: Directories) -> dict[str, str]:
    """Return the environment with the files C{.env} and C{.env.local}.

    C{./.env} and C{<config>/.env} fill in what is not set, in this order; then
    C{./.env.local} and C{<config>/.env.local} override (C{spec/daemon.md} 3.3).
    """
    environment = dict(os.environ)
    here = Path()
    # Root's commands go on as haloyd's user, who may not look into root's own folder:
    # the daemon that runs as that user has no file there either.
    folders = (here, chosen.config) if os.access(here, os.X_OK) else (chosen.config,)
    for folder in folders:
        for name, value in read_env_file(folder / ".env").items():
            environment.setdefault(name, value)
    for folder in folders:
        environment |= read_env_file(folder / ".env.local")
    return environment


def read_token(chosen: Directories) -> str:
    """Return the first admin token. @raise ConfigError: there is none."""
    environment = read_environment(chosen)
    token = environment.get(TOKEN, "")
    if token:
        return token
    advice = "run `haloyd init`, or set it there"
    if environment.get(TOKEN_HASH):
        advice = (
            "only its hash is kept here. Set it in the environment of this command, "
            "to a token with the scope admin"
        )
    raise ConfigError(f"{TOKEN} is not set; {advice}", path=str(chosen.env_file))


def read_token_hash(chosen: Directories) -> bytes:
    """Return the hash of the first admin token.

    @raise ConfigError: there is neither the token nor a hash of one.
    """
    environment = read_environment(chosen)
    kept = environment.get(TOKEN_HASH, "")
    if environment.get(TOKEN) or not kept:
        return token_hash(read_token(chosen))
    if not _HASH.fullmatch(kept):
        raise ConfigError(
            f"{TOKEN_HASH} is not a SHA-256: 64 hexadecimal digits",
            path=str(chosen.env_file),
        )
    return bytes.fromhex(kept)


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _read(path: Path) -> DaemonFile:
    try:
        text = read_text(path)
    except FileNotFoundError:
        return DaemonFile()
    return parse_settings(text, path)
