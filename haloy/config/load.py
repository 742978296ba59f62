"""Find and read C{haloy.json}, C{.yaml}, C{.yml} or C{.toml}; errors with file:line."""

from __future__ import annotations

from pathlib import Path

from haloy.config.app_file import AppFile
from haloy.config.document import Document, parse_document
from haloy.config.wire import Misplaced, app_file_from
from haloy.errors import ConfigError

#: In this order, as existing servers and clients expect (C{spec/config.md} 1.1).
NAMES = ("haloy.json", "haloy.yaml", "haloy.yml", "haloy.toml")
KINDS = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


def find_app_file(path: Path) -> Path:
    """Return the file that C{path}, a file or a directory, means.

    @raise ConfigError: there is none, or its extension is none of ours.
    """
    if path.is_dir():
        for name in NAMES:
            if (path / name).is_file():
                return path / name
        raise ConfigError(
            f"has none of {', '.join(NAMES)}; `haloy init` writes one", path=str(path)
        )
    if not path.exists():
        raise ConfigError("does not exist", path=str(path))
    if path.suffix not in KINDS:
        raise ConfigError(
            f"must end in {', '.join(KINDS)}, not {path.suffix or 'nothing'}",
            path=str(path),
        )
    return path


def load_app_file(path: Path) -> AppFile:
    """Return the file at C{path} (see L{find_app_file}).

    @raise ConfigError: with file and line.
    """
    file = find_app_file(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"cannot be read: {problem}", path=str(file)) from problem
    return parse_app_file(text, str(file), KINDS[file.suffix])


def parse_app_file(text: str, path: str, kind: str) -> AppFile:
    """Return the app file in C{text}. @raise ConfigError: with file and line."""
    document = parse_document(text, path, kind)
    try:
        return app_file_from(document.value, camel=kind == "json")
    except Misplaced as problem:
        raise located(problem, document) from None


def located(problem: Misplaced, document: Document) -> ConfigError:
    """Return C{problem} as an error of C{document}, at its line."""
    return ConfigError(
        str(problem), path=document.path, line=document.line(problem.path)
    )
