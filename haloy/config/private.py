"""Files that only their owner may read, replaced so that a crash leaves old or new.

And what becomes of one that is damaged all the same.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

#: What L{write_private} has not finished: C{.NAME.PID.tmp}.
_UNFINISHED: Final = re.compile(r"\..+\.([0-9]+)\.tmp")


def make_directory(path: Path) -> None:
    """Make C{path} with mode 0700 unless it exists; an existing one keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def tidy(folder: Path) -> None:
    """Remove what processes that were killed have not finished writing.

    It may be half of a key. Where nothing can be removed it stays.
    """
    for path in folder.glob(".*.tmp"):
        found = _UNFINISHED.fullmatch(path.name)
        if found is not None and not Path("/proc", found[1]).exists():
            with suppress(OSError):
                path.unlink()


def set_aside(path: Path, now: datetime) -> Path:
    """Rename a damaged file so that nobody uses it and nothing is lost.

    Returns its new place, C{NAME.corrupt-TIME} beside the old one (UTC).

    @raise OSError: the file system does not let us.
    """
    return path.rename(path.with_name(f"{path.name}.corrupt-{stamp(now)}"))


def stamp(now: datetime) -> str:
    """Return a UTC time as names of files have it: C{20261124T185600Z}."""
    return f"{now:%Y%m%dT%H%M%SZ}"


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace C{path} by C{content}, mode 0600, so that a crash leaves old or new.

    Blocks for one fsync of file and folder.
    """
    make_directory(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    except BaseException as problem:
        temporary.unlink(missing_ok=True)
        if isinstance(problem, OSError) and problem.filename == str(temporary):
            # Nobody knows the file by that name.
            problem.filename = str(path)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
