"""Where secrets live: 1Password's C{op}, SOPS, plain files, any command.

Each source gives texts by key. Tools run as they are installed, without a shell.
C{op} is followed by its published output; it was never run here against the real
service.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import field, frozen

from haloy.config.app_file import (
    CommandSource,
    FileSource,
    OnePasswordSource,
    SopsSource,
)
from haloy.config.document import SIZE_LIMIT_BYTES, parse_document
from haloy.config.dotenv import parse_env
from haloy.errors import ConfigError

Source = OnePasswordSource | SopsSource | FileSource | CommandSource

#: The key of a source that is one text.
TEXT_KEY = "value"

_FORMATS = ("yaml", "json", "dotenv", "text")
_SUFFIXES = {
    ".yaml": "yaml",
    ".yml": "yaml",
    ".json": "json",
    ".env": "dotenv",
    ".dotenv": "dotenv",
}


@frozen
class Surroundings:
    """Where tools run: the configuration's folder, and the variables that count.

    C{notify} is told when a tool has not answered after C{notice_s}; after
    C{limit_s} it is killed.
    """

    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    notify: Callable[[str], None] = lambda _: None
    notice_s: float = 1.0
    limit_s: float = 120.0


def fetch(source: Source, around: Surroundings) -> Mapping[str, str]:
    """Return what C{source} knows, by key. Blocks while a tool runs.

    @raise ConfigError: the tool or the file fails.
    """
    if isinstance(source, OnePasswordSource):
        return _one_password(source, around)
    if isinstance(source, SopsSource):
        return _sops(source, around)
    if isinstance(source, CommandSource):
        return _command(source, around)
    return _file(source, around.folder)


def _one_password(source: OnePasswordSource, around: Surroundings) -> Mapping[str, str]:
    command = ["op", "item", "get", source.item, "--vault", source.vault]
    command += ["--format", "json"]
    if source.account:
        command += ["--account", source.account]
    hint = "waiting for 1Password: approve the request, or unlock it"
    item = _parse(_run(command, "onepassword", around, hint), "json", "op")
    fields = item.get("fields") if isinstance(item, Mapping) else None
    if not isinstance(fields, list):
        raise ConfigError("onepassword: parse: op printed no item with fields")
    return {
        str(one["label"]): _scalar(one.get("value"))
        for one in fields
        if isinstance(one, Mapping) and one.get("label")
    }


def _sops(source: SopsSource, around: Surroundings) -> Mapping[str, str]:
    path = around.folder / source.file
    kind = source.format or _SUFFIXES.get(path.suffix or path.name)
    if kind not in {"yaml", "json", "dotenv"}:
        raise ConfigError(
            "sops: validate: say its format: yaml, json or dotenv", path=str(path)
        )
    command = ["sops", "decrypt", "--output-type", kind, str(path)]
    text = _run(command, "sops: decrypt", around, "waiting for sops")
    return _by_key(text, kind, str(path))


def _file(source: FileSource, folder: Path) -> Mapping[str, str]:
    path = folder / source.path
    try:
        if path.is_dir():
            return {
                one.name: _read(one).rstrip("\r\n")
                for one in sorted(path.iterdir())
                if one.is_file()
            }
        text = _read(path)
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else problem
        reason = f"the file of secrets cannot be read: {why}"
        raise ConfigError(reason, path=str(path)) from None
    kind = source.format or _SUFFIXES.get(path.suffix or path.name, "text")
    return _by_key(text, kind, str(path))


def _read(path: Path) -> str:
    if path.stat().st_size > SIZE_LIMIT_BYTES:
        raise ConfigError("file: is larger than 1 MiB", path=str(path))
    return path.read_text(encoding="utf-8")


def _command(source: CommandSource, around: Surroundings) -> Mapping[str, str]:
    if not source.run or not source.run[0]:
        raise ConfigError("command: validate: run names no program")
    name = source.run[0]
    text = _run(list(source.run), "command", around, f"waiting for {name}")
    return _by_key(text, source.format or "text", f"output of {name}")


def _by_key(text: str, kind: str, path: str) -> Mapping[str, str]:
    if kind not in _FORMATS:
        raise ConfigError(
            f"format {kind!r} is not one of {', '.join(_FORMATS)}", path=path
        )
    if kind == "text":
        return {TEXT_KEY: text.rstrip("\r\n")}
    if kind == "dotenv":
        return dict(parse_env(text).values)
    flat: dict[str, str] = {}
    _flatten(_parse(text, kind, path), "", flat, path)
    return flat


def _parse(text: str, kind: str, path: str) -> Any:
    try:
        return parse_document(text, path, kind).value
    except ConfigError as problem:
        # The reason may quote the line, which is a secret.
        raise ConfigError(
            f"parse: is not {kind}", path=path, line=problem.line
        ) from None


def _flatten(value: Any, prefix: str, flat: dict[str, str], path: str) -> None:
    """Put the scalars of C{value} into C{flat}, with a dot between the keys."""
    if isinstance(value, Mapping):
        parts = [(str(key), one) for key, one in value.items()]
    elif isinstance(value, list):
        parts = [(str(index), one) for index, one in enumerate(value)]
    else:
        flat[prefix or TEXT_KEY] = _scalar(value)
        return
    for key, one in parts:
        if "." in key:
            raise ConfigError(
                f"parse: the key {key!r} has a dot and cannot be addressed", path=path
            )
        _flatten(one, f"{prefix}.{key}" if prefix else key, flat, path)


def _scalar(value: Any) -> str:
    """Return a scalar as text: C{true}, plain decimal numbers, nothing for null."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == value and abs(value) != float("inf"):
        return f"{Decimal(repr(value)):f}".removesuffix(".0")
    return str(value)


def _run(command: list[str], stage: str, around: Surroundings, hint: str) -> str:
    """Return what C{command} prints. @raise ConfigError: it is missing or fails."""
    try:
        process = subprocess.Popen(
            command,
            cwd=around.folder,
            env=dict(around.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as problem:
        reason = "is not installed (not found in PATH)"
        if not isinstance(problem, FileNotFoundError):
            reason = f"cannot be run: {problem.strerror}"
        raise ConfigError(f"{stage}: {command[0]} {reason}") from None
    with process:
        try:
            try:
                out, err = process.communicate(timeout=around.notice_s)
            except subprocess.TimeoutExpired:
                around.notify(hint)
                out, err = process.communicate(timeout=around.limit_s)
        except BaseException as problem:
            process.kill()
            if not isinstance(problem, subprocess.TimeoutExpired):
                raise
            raise ConfigError(
                f"{stage}: {command[0]} did not answer in {around.limit_s:g} s"
            ) from None
    if process.returncode:
        said = err.decode(errors="replace").strip()
        reason = said or f"exit code {process.returncode}"
        raise ConfigError(f"{stage}: {command[0]} failed: {reason}")
    if len(out) > SIZE_LIMIT_BYTES:
        raise ConfigError(f"{stage}: {command[0]} printed more than 1 MiB")
    return out.decode(errors="replace")
