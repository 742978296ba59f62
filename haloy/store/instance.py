"""Which haloyd this is: a name for its containers that outlives a lost database."""

from __future__ import annotations

import re
from pathlib import Path

from haloy.config.private import write_private

_NAME = re.compile(r"[0-9a-f]{16}")


def instance_name(path: Path, fresh: str) -> str:
    """Return the name kept in C{path}, C{fresh} (16 hex digits) the first time.

    Blocks for a small read, the first time for a write.
    """
    kept = kept_name(path)
    if not kept:
        write_private(path, f"{fresh}\n".encode())
    return kept or fresh


def kept_name(path: Path) -> str:
    """Return the name kept in C{path}, C{""} without one."""
    try:
        kept = path.read_text(encoding="ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return ""
    return kept if _NAME.fullmatch(kept) else ""
