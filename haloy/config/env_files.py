"""C{.env} files: which ones count, and in which order.

Precedence, highest first: the process, then the configuration's folder, the current
one, the client's; in each C{.env.<target>}, C{.env.local}, C{.env}. The real
environment wins, because CI sets it on purpose (CLI section 9, point 9).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from haloy.config.dotenv import EnvText, parse_env, set_in
from haloy.config.private import write_private
from haloy.errors import ConfigError


def read_env_file(path: Path) -> dict[str, str]:
    """Return the variables in C{path}; a missing file has none.

    Lines that are no assignment are left out; L{read_env_text} tells them.
    """
    return dict(read_env_text(path).values)


def read_env_text(path: Path) -> EnvText:
    """Return what C{path} says, with the numbers of the lines left out.

    A folder of this name is no such file: virtual environments are called C{.env} too.

    @raise ConfigError: it is there and cannot be read: another file's values would
        count in place of its own.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return EnvText(())
    except OSError as problem:
        reason = f"cannot be read: {problem.strerror}"
        raise ConfigError(reason, path=str(path)) from None
    return parse_env(text)


def environment(
    process: Mapping[str, str], folders: Iterable[Path], target: str | None = None
) -> dict[str, str]:
    """Return the variables that count for C{target}.

    @param folders: most important first: the configuration's, the current one, the
        client's. Each may hold C{.env.<target>}, C{.env.local} and C{.env}.
    """
    merged = dict(process)
    for path in _files(folders, target):
        for key, value in read_env_file(path).items():
            merged.setdefault(key, value)
    return merged


def odd_lines(folders: Iterable[Path], target: str | None = None) -> list[str]:
    """Return the places (C{path:line}) that L{environment} leaves out."""
    return [
        f"{path}:{line}"
        for path in _files(folders, target)
        for line in read_env_text(path).bad_lines
    ]


def _files(folders: Iterable[Path], target: str | None) -> Iterator[Path]:
    names = (() if target is None else (f".env.{target}",)) + (".env.local", ".env")
    for folder in dict.fromkeys(folders):
        for name in names:
            yield folder / name


def set_variable(path: Path, name: str, value: str | None) -> None:
    """Set C{name} in the file at C{path}, remove it for C{None}; mode 0600.

    Every other line, comments included, stays as it is.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        text = ""
    write_private(path, set_in(text, name, value).encode())
