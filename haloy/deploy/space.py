"""Is there room? Free space by file system, and what is under way will need."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen

from haloy.config.units import show_size
from haloy.errors import InsufficientStorage

#: What stays free on every file system that we write to.
RESERVE_BYTES = 2 << 30


@frozen
class Disk:
    """A file system at one moment, in bytes.

    @ivar free: for root, as whom Docker writes.
    @ivar ours: for everybody else: some is kept for root.
    """

    size: int
    free: int
    ours: int

    @property
    def percent_used(self) -> int:
        """How full it is for us; one without a size never is."""
        return 100 - self.ours * 100 // self.size if self.size else 0


def disk_of(path: Path) -> Disk:
    """Return the file system of C{path}. @raise OSError: it cannot be looked at."""
    found = os.statvfs(path)
    unit = found.f_frsize
    return Disk(found.f_blocks * unit, found.f_bfree * unit, found.f_bavail * unit)


@frozen
class Room:
    """What one file system has and needs, in bytes."""

    path: str
    required: int
    available: int

    @property
    def ok(self) -> bool:
        """Whether it suffices."""
        return self.available >= self.required


@define(eq=False)
class Space:
    """Knows what is free and what has been promised to uploads under way (A8)."""

    reserve_bytes: int = RESERVE_BYTES
    _promised: dict[int, int] = field(factory=dict, init=False)

    def room(self, wanted: list[tuple[Path, int]]) -> Room:
        """Return the file system with the least slack for all of C{wanted}.

        The reserve counts once a file system; a path that does not exist counts
        where its nearest parent is.
        """
        needs: dict[int, tuple[Path, int]] = {}
        for path, size in wanted:
            place = _existing(path)
            device = place.stat().st_dev
            first, total = needs.get(device, (place, self.reserve_bytes))
            needs[device] = (first, total + size)
        rooms = [
            Room(str(place), total, self._free(place, device))
            for device, (place, total) in needs.items()
        ]
        return min(rooms, key=lambda one: one.available - one.required)

    @contextmanager
    def promise(self, path: Path, size: int) -> Iterator[None]:
        """Keep C{size} bytes for the length of the block.

        @raise InsufficientStorage: they are not there.
        """
        room = self.room([(path, size)])
        if not room.ok:
            raise too_little(room)
        device = _existing(path).stat().st_dev
        self._promised[device] = self._promised.get(device, 0) + size
        try:
            yield
        finally:
            self._promised[device] -= size

    def _free(self, place: Path, device: int) -> int:
        return disk_of(place).ours - self._promised.get(device, 0)


def too_little(room: Room) -> InsufficientStorage:
    """Return the error for a file system without room."""
    return InsufficientStorage(
        f"insufficient disk space on the server: {show_size(room.required)} are needed "
        f"({show_size(RESERVE_BYTES)} stay free), "
        f"{show_size(max(room.available, 0))} are there; "
        "`haloy prune-images` frees some"
    )


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
