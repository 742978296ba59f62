"""Which haloyd this is: a name for its containers that outlives a lost database."""

from __future__ import annotations

import re
from pathlib import Path

from haloy.config.private import make_directory, write_private

_NAME = re.compile(r"[0-9a-f]{16}")


def instance_name(path: Path, copy: Path, fresh: str) -> str:
    """Return the name kept in C{path}, else in C{copy}, else C{fresh} from now on.

    Blocks for two small reads, and for a write where a file has not got the name.

    @param copy: beside the database, so that what knows the containers knows whose
        they are when C{path} alone is lost or damaged.
    @param fresh: 16 hex digits.
    """
    name = kept_name(path, copy) or fresh
    keep_name(path, copy, name)
    return name


def keep_name(path: Path, copy: Path, name: str) -> None:
    """Write C{name} where it is not yet."""
    for one in (path, copy):
        if kept_name(one) != name:
            make_directory(one.parent)
            write_private(one, f"{name}\n".encode())


def kept_name(*paths: Path) -> str:
    """Return the name kept in the first of C{paths} that has one, else C{""}."""
    for path in paths:
        try:
            kept = path.read_text(encoding="ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            continue
        if _NAME.fullmatch(kept):
            return kept
    return ""
