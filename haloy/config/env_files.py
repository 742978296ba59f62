"""C{.env} files: which ones count, in which order, and how one is edited.

Precedence, highest first: the process, C{.env.<target>}, C{.env.local}, C{.env} of
the configuration's folder (and of the current one), the client's folder. The real
environment wins, because CI sets it on purpose (CLI section 9, point 9).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from dotenv import dotenv_values

from haloy.config.private import write_private

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables in C{path}; a missing or unreadable file has none."""
    try:
        values = dotenv_values(path)
    except (OSError, UnicodeDecodeError):
        return {}
    return {name: value for name, value in values.items() if value is not None}


def environment(
    process: Mapping[str, str], folders: Iterable[Path], target: str | None = None
) -> dict[str, str]:
    """Return the variables that count.

    @param folders: most important first; each may hold C{.env.<target>},
        C{.env.local} and C{.env}.
    """
    merged = dict(process)
    names = [".env.local", ".env"]
    if target is not None:
        names.insert(0, f".env.{target}")
    folders = tuple(dict.fromkeys(folders))
    for name in names:
        for folder in folders:
            for key, value in read_env_file(folder / name).items():
                merged.setdefault(key, value)
    return merged


def set_variable(path: Path, name: str, value: str | None) -> None:
    """Set C{name} in the file at C{path}, remove it for C{None}; mode 0600.

    Every other line, comments included, stays as it is.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        lines = []
    assignment = None if value is None else f"{name}={_quoted(value)}"
    kept: list[str] = []
    for line in lines:
        match = _ASSIGNMENT.match(line)
        if match is None or match[1] != name:
            kept.append(line)
        elif assignment is not None:
            kept.append(assignment)
            assignment = None
    if assignment is not None:
        kept.append(assignment)
    write_private(path, "".join(f"{line}\n" for line in kept).encode())


def _quoted(value: str) -> str:
    if _INTEGER.fullmatch(value):
        return value
    escaped = re.sub(r'([\\"$`!])', r"\\\1", value).replace("\n", "\\n")
    return f'"{escaped}"'
