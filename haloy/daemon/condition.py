"""Whether every part works: what C{/health/ready} says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from attrs import define

from haloy.api.schema import Readiness
from haloy.daemon.dataplane import DataPlane
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.store.database import Database


@define(eq=False)
class Condition:
    """Asks each part. @ivar _problem: what is wrong with the configuration."""

    _engine: Engine
    _proxy: DataPlane
    _database: Database
    _problem: Callable[[], str]

    async def ready(self) -> Readiness:
        """Return what does not work, and why."""
        return Readiness(
            docker=await _trouble(self._engine.ping),
            proxy=self._proxy.trouble,
            database=await _trouble(lambda: self._database.run(_look)),
            config=self._problem(),
        )


def _look(cursor: sqlite3.Cursor) -> None:
    cursor.execute("SELECT 1")


async def _trouble(ask: Callable[[], Any]) -> str:
    try:
        await ask()
    except HaloyError as problem:
        return str(problem)
    return ""
