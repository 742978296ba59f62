"""A small file system, and the filling of it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def small_disk(folder: Path, size: str = "16m") -> Iterator[Path]:
    """Mount a file system of C{size}; it takes memory only for what is written."""
    folder.mkdir(parents=True)
    options = f"size={size},mode=700"
    _run("mount", "-t", "tmpfs", "-o", options, "haloytest", str(folder))
    try:
        yield folder
    finally:
        _run("umount", "-l", str(folder))


@contextmanager
def filled(folder: Path, left_bytes: int = 0) -> Iterator[None]:
    """Leave no page free on a small disk, or so much, until the block's end."""
    found = os.statvfs(folder)
    while True:
        now = os.statvfs(folder)
        used = now.f_blocks - now.f_bfree
        with suppress(subprocess.CalledProcessError):  # something was written meanwhile
            _resize(folder, used * found.f_frsize + left_bytes)
            break
    try:
        yield
    finally:
        _resize(folder, found.f_blocks * found.f_frsize)


def _resize(folder: Path, size: int) -> None:
    _run("mount", "-o", f"remount,size={size}", str(folder))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def fill(descriptor: int) -> None:
    """Write until nothing more goes in, down to single bytes."""
    for size in (1 << 20, 1 << 12, 1):
        try:
            while True:
                os.write(descriptor, b"\0" * size)
        except OSError:
            continue
