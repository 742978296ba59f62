"""The database in memory: the same migrations, and work that is done at once."""

from __future__ import annotations

import sqlite3
from typing import Any

from attrs import define, field

from haloy.store.database import migrations


@define(eq=False)
class Transaction:
    """What adbapi gives to work: a cursor's calls, but no iteration."""

    _cursor: sqlite3.Cursor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@define(eq=False)
class MemoryDatabase:
    """Has the one call of L{haloy.store.database.Database} that others use."""

    connection: sqlite3.Connection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for _, script in migrations():
            self.connection.executescript(script)

    async def run(self, work: Any, *args: Any) -> Any:
        return work(self.transaction(), *args)

    def transaction(self) -> Any:
        return Transaction(self.connection.cursor())

    def close(self) -> None:
        self.connection.close()
