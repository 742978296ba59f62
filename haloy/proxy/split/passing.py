"""Tables on their way from haloyd to the workers, none of whose routes is read here.

What a route may be, workers know, and a table is acknowledged when all of them have
read it. One that a worker refuses is refused, and told to nobody who comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from haloy.proxy.control.changes import (
    UnreadTable,
    passing_reader,
    read_table,
    table_parts,
)
from haloy.proxy.control.link import ProxyRefused
from haloy.proxy.control.protocol import Packed, TablePart, packed
from haloy.proxy.split.worker_pool import WorkerPool

#: Part of a table that never comes: whoever has parts of another one leaves them.
_NO_TABLE: Final = TablePart(-1)


class Passing:
    """Passes tables on, and knows the newest one."""

    def __init__(self) -> None:
        self._reader = passing_reader()

    @property
    def table(self) -> UnreadTable:
        """The newest one."""
        return self._reader.table

    @property
    def brief(self) -> Sequence[TablePart]:
        """What workers that come are told: what else comes goes on from there."""
        return self._reader.brief

    def begin(self, table: UnreadTable) -> None:
        """Begin with what was kept."""
        for part in table_parts(None, table):
            self._reader.take(part)

    def hear(self, part: TablePart, came: Packed, workers: WorkerPool) -> None:
        """Pass a part on; what is wrong with it is said when the last one comes."""
        with suppress(ValueError):
            self._reader.take(part)
        workers.tell(came)

    def give_up(self, workers: WorkerPool) -> None:
        """Forget a table of which no more comes, and let workers do so."""
        if self._reader.within:
            self._reader.give_up()
            workers.tell(packed(_NO_TABLE))

    async def take(self, part: TablePart, came: Packed, workers: WorkerPool) -> bool:
        """Return when all have C{part}, whether a table that is served ends with it.

        @raise ProxyRefused: a worker does not serve it; it was none.
        @raise ValueError: the same, found out here.
        """
        former = self._reader.table
        table = self._reader.take(part)
        try:
            read = await workers.ask(came)
            if table is not None and not read:  # nobody was there to do it
                read_table(table)
        except (ProxyRefused, ValueError):
            if table is not None:
                self._reader.go_back(table, former)
            raise
        return table is not None
