"""A reactor for tests that want each turn to be a call."""

from __future__ import annotations

import select

from attrs import define, field

from haloy.proxy.descriptor import Watched


@define(eq=False)
class Turns:
    """A reactor that goes on when it is told to."""

    now_s: float = 1000.0
    readers: dict[Watched, None] = field(factory=dict)
    writers: dict[Watched, None] = field(factory=dict)
    calls: list[object] = field(factory=list)

    def addReader(self, reader: Watched) -> None:  # noqa: N802 - Twisted's
        self.readers[reader] = None

    def removeReader(self, reader: Watched) -> None:  # noqa: N802 - Twisted's
        self.readers.pop(reader, None)

    def addWriter(self, writer: Watched) -> None:  # noqa: N802 - Twisted's
        self.writers[writer] = None

    def removeWriter(self, writer: Watched) -> None:  # noqa: N802 - Twisted's
        self.writers.pop(writer, None)

    def callLater(self, delay: float, call: object, *args: object) -> None:  # noqa: N802 - Twisted's
        self.calls.append(call)

    def clock(self) -> float:
        return self.now_s

    def go(self) -> None:
        """Handle events until there are none."""
        for _ in range(1000):
            calls, self.calls = self.calls, []
            for call in calls:
                assert callable(call)
                call()
            reads, writes, _ = select.select([*self.readers], [*self.writers], [], 0)
            if not reads and not writes and not calls:
                return
            for one in writes:
                if one in self.writers:
                    one.doWrite()
            for one in reads:
                if one in self.readers:
                    one.doRead()
        raise AssertionError("it does not come to rest")
