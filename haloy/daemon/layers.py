"""Uploaded layers that nobody asks for any more, and their removal."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from haloy.store.database import Database
from haloy.store.layers import forget_layers, unused_layers


@define(eq=False)
class LayerShelf:
    """The folder C{layers/} with its rows."""

    _reactor: Any
    _pool: ThreadPool
    _database: Database
    _folder: Path

    async def clear(self, before: datetime) -> int:
        """Remove layers last used before, with their rows; return how many."""
        digests = await self._database.run(unused_layers, before)
        removed: Deferred[list[str]] = deferToThreadPool(
            self._reactor, self._pool, _remove, self._folder, digests
        )
        gone = await removed
        await self._database.run(forget_layers, gone)
        return len(gone)


def _remove(folder: Path, digests: list[str]) -> list[str]:
    gone = []
    for digest in digests:
        name = digest.removeprefix("sha256:")
        # Rows are the Go daemon's too: only what is a digest is a folder of ours.
        if len(name) != 64 or not set(name) <= set("0123456789abcdef"):
            continue
        shutil.rmtree(folder / name, ignore_errors=True)
        if not (folder / name).exists():
            gone.append(digest)
    return gone
