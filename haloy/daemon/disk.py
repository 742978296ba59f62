"""Disks that fill up: a warning at one mark, at the next old things of ours go.

What goes: uploaded layers that nobody has asked for lately, and images of our apps
older than the deployments to keep. Never anything of others, never an image that a
container uses.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.config.operations import DiskSettings
from haloy.config.units import show_size
from haloy.daemon.layers import LayerShelf
from haloy.deploy.pruning import Pruning
from haloy.errors import HaloyError

LOOK_EVERY_S: Final = 60.0
WARN_EVERY_S: Final = 3600.0
PRUNE_EVERY_S: Final = 600.0

#: A layer that a client was told is here must stay until it has used it.
LAYER_LIFE_FULL: Final = timedelta(hours=6)


@define(eq=False)
class Watermark:
    """Looks at the disks now and then.

    @ivar _places: gives what is to be looked at; Docker's folder among it.
    @ivar _apps: gives the names of all apps.
    @ivar read: size and free bytes of a path.
    """

    _reactor: Any
    settings: DiskSettings
    _places: Callable[[], Awaitable[list[Path]]]
    _apps: Callable[[], Awaitable[list[str]]]
    _pruning: Pruning
    _layers: LayerShelf
    _now: Callable[[], datetime]
    read: Callable[[Path], tuple[int, int]] = lambda path: disk_of(path)
    _log: Logger = field(factory=Logger, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _warned_s: dict[str, float] = field(factory=dict, init=False)
    _pruned_s: float | None = field(default=None, init=False)
    disks: dict[str, tuple[int, int]] = field(factory=dict, init=False)

    async def start(self) -> None:
        """Look every minute, and now."""
        self._loop = LoopingCall(self.look)
        self._loop.clock = self._reactor
        self._loop.start(LOOK_EVERY_S).addErrback(
            lambda failure: self._log.failure("looking at the disks failed", failure)
        )

    async def stop(self) -> None:
        """Look no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    async def look(self) -> None:
        """Look at every disk once; warn, or make room."""
        full = False
        disks = {}
        for path in await self._places():
            try:
                size, free = self.read(path)
            except OSError:
                continue
            disks[str(path)] = (free, size)
            percent = 100 - free * 100 // size if size else 0
            if percent >= self.settings.warn_percent:
                self._warn(path, percent, free)
            full = full or percent >= self.settings.prune_percent
        self.disks = disks
        if full:
            await self._make_room()

    def _warn(self, path: Path, percent: int, free: int) -> None:
        now_s = self._reactor.seconds()
        last_s = self._warned_s.get(str(path))
        if last_s is not None and now_s - last_s < WARN_EVERY_S:
            return
        self._warned_s[str(path)] = now_s
        self._log.warn(
            "the disk of {path} is {percent} % full, {free} are left",
            path=str(path),
            percent=percent,
            free=show_size(free),
        )

    async def _make_room(self) -> None:
        now_s = self._reactor.seconds()
        if self._pruned_s is not None and now_s - self._pruned_s < PRUNE_EVERY_S:
            return
        self._pruned_s = now_s
        images = 0
        try:
            layers = await self._layers.clear(self._now() - LAYER_LIFE_FULL)
            for app in await self._apps():
                pruned = await self._pruning.prune(app, self.settings.keep, True)
                images += len(pruned.tags)
        except HaloyError as problem:
            self._log.error("making room failed: {problem}", problem=str(problem))
            return
        self._log.warn(
            "the disk is full to its mark: {layers} layers and {images} old images "
            "of our apps were removed; nothing else may be",
            layers=layers,
            images=images,
        )


def disk_of(path: Path) -> tuple[int, int]:
    """Return size and free bytes (for us) of the file system of C{path}.

    @raise OSError: it cannot be looked at.
    """
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
