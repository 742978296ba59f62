"""Groups of the scheduler, as systemd has them for units, weights included.

A unit has C{CPUWeight=}, 100 if its file does not say so. All groups stand in one, that
the rest of the machine comes far behind: it disturbs what is measured less.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

_UNITS: Final = Path(__file__).parents[1] / "systemd"
_USUAL: Final = 100
_MOST: Final = 10_000
#: Where a control group with a CPU's weight can be: of the first version, the second.
_OLD: Final = Path("/sys/fs/cgroup/cpu")
_NEW: Final = Path("/sys/fs/cgroup")
_ENTER: Final = 'echo $$ >"$0/cgroup.procs" && exec "$@"'


class Units:
    """Groups for processes, each by the name of its unit."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _group(self, name: str, weight: int) -> Path:
        group = self._folder / name
        group.mkdir(exist_ok=True)
        _weigh(group, weight)
        return group

    def command(self, name: str, command: Sequence[Any]) -> list[Any]:
        """Return what runs C{command} in the group of the unit C{name}."""
        group = self._group(name, weight_of(name))
        return ["/bin/sh", "-c", _ENTER, group, *command]

    def enter(self, name: str) -> None:
        """Let this process, all of it, be in the group of the unit C{name}."""
        group = self._group(name, weight_of(name))
        (group / "cgroup.procs").write_text(str(os.getpid()))


def weight_of(name: str) -> int:
    """Return C{CPUWeight=} of a unit of ours, 100 of others."""
    with suppress(FileNotFoundError):
        for line in (_UNITS / name).read_text().splitlines():
            key, _, value = line.partition("=")
            if key == "CPUWeight":
                return int(value)
    return _USUAL


def _weigh(group: Path, weight: int) -> None:
    new = group / "cpu.weight"
    if new.exists():
        new.write_text(str(weight))
    else:  # as systemd does it
        (group / "cpu.shares").write_text(str(max(2, weight * 1024 // 100)))


@contextmanager
def units() -> Iterator[Units]:
    """Let there be such groups. @raise OSError: we may not, or there can be none."""
    top = _OLD if (_OLD / "cpu.shares").exists() else _NEW
    folder = top / f"haloy-bench-{os.getpid()}"
    folder.mkdir()
    try:
        if top is _NEW:
            for one in (top, folder):
                (one / "cgroup.subtree_control").write_text("+cpu")
        _weigh(folder, _MOST)
        yield Units(folder)
    finally:
        (top / "cgroup.procs").write_text(str(os.getpid()))
        for group in [*folder.iterdir(), folder]:
            if group.is_dir():
                _remove(group)


def missing() -> str:
    """Return what keeps us from such groups, C{""}: nothing does."""
    try:
        with units():
            return ""
    except OSError as problem:
        return (
            f"no control groups with a weight of the CPU here ({problem}): all have "
            "the same share, so the figures are not those of a server with systemd"
        )


def _remove(group: Path) -> None:
    """Remove it when its last process is gone, which takes a moment."""
    for _ in range(50):
        with suppress(OSError):
            group.rmdir()
            return
        Event().wait(0.1)
    group.rmdir()
