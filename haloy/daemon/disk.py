"""Disks that fill up: a warning at one mark, at the next old things of ours go.

What goes: uploaded layers that nobody has asked for lately, and images of our apps
older than the deployments to keep. Never anything of others, never an image that a
container uses.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.clock import Seldom
from haloy.config.operations import DiskSettings
from haloy.config.units import show_size
from haloy.daemon.layers import LayerShelf
from haloy.deploy.pruning import Pruning
from haloy.deploy.space import Disk, disk_of
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
    @ivar read: returns the disk of a path, or raises OSError.
    @ivar disks: what was seen last, by path: free and size.
    """

    _reactor: Any
    settings: DiskSettings
    _places: Callable[[], Awaitable[list[Path]]]
    _apps: Callable[[], Awaitable[list[str]]]
    _pruning: Pruning
    _layers: LayerShelf
    _now: Callable[[], datetime]
    read: Callable[[Path], Disk] = disk_of
    _log: Logger = field(factory=Logger, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)
    _warning: dict[str, Seldom] = field(factory=dict, init=False)
    _pruning_again: Seldom = field(factory=lambda: Seldom(PRUNE_EVERY_S), init=False)
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
                found = self.read(path)
            except OSError:
                continue
            disks[str(path)] = (found.ours, found.size)
            percent = found.percent_used
            if percent >= self.settings.warn_percent:
                self._warn(path, percent, found.ours)
            full = full or percent >= self.settings.prune_percent
        self.disks = disks
        if full:
            await self._make_room()

    def _warn(self, path: Path, percent: int, free: int) -> None:
        telling = self._warning.setdefault(str(path), Seldom(WARN_EVERY_S))
        if not telling.is_time(self._reactor.seconds()):
            return
        self._log.warn(
            "the disk of {path} is {percent} % full, {free} are left",
            path=str(path),
            percent=percent,
            free=show_size(free),
        )

    async def _make_room(self) -> None:
        if not self._pruning_again.is_time(self._reactor.seconds()):
            return
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
