"""Room that is ours in advance, for the start on a disk that is full.

SQLite cannot open a database without room for its shared memory and its log. Who
starts a server again because the disk is full must find it serving, not waiting.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SIZE_BYTES: Final = 1 << 20
NAME: Final = "ballast"


def take_aboard(folder: Path) -> None:
    """Hold the room, if it is not held; a disk that has none is left as it is."""
    path = folder / NAME
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    except OSError:
        return
    try:
        os.posix_fallocate(descriptor, 0, SIZE_BYTES)
    except OSError:
        path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def throw_off(folder: Path) -> bool:
    """Give the room back; return whether there was any."""
    try:
        (folder / NAME).unlink()
    except OSError:
        return False
    return True
