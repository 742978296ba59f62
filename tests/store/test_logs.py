"""Lines of deployments' logs."""

from __future__ import annotations

from attrs import evolve

from haloy.store.database import Database
from haloy.store.logs import LOG_LINES_LIMIT, LogRow, add_log, read_log
from tests.store.conftest import NOW

LINE = LogRow("shop", "one", "INFO", "said", NOW, ("a.example",), {"k": "v"})


async def test_as_it_was(store: Database) -> None:
    """A line comes back as it was written, with a number."""
    await store.run(add_log, LINE)
    await store.run(add_log, evolve(LINE, complete=True, failed=True))
    first, second = await store.run(read_log, "shop", "one", 0)
    assert evolve(first, seq=0) == LINE
    assert (second.complete, second.failed) == (True, True)
    assert second.seq > first.seq


async def test_only_what_is_new(store: Database) -> None:
    """Reading goes on behind a number, and by app and deployment."""
    for message in ("a", "b", "c"):
        await store.run(add_log, evolve(LINE, message=message))
    await store.run(add_log, evolve(LINE, app="blog"))
    first, *_ = await store.run(read_log, "shop", "one", 0)
    rest = await store.run(read_log, "shop", "one", first.seq)
    assert [one.message for one in rest] == ["b", "c"]


async def test_bounded(store: Database) -> None:
    """The oldest lines go beyond the limit; other deployments keep theirs (A5)."""

    def many(cursor: object) -> None:
        for number in range(LOG_LINES_LIMIT + 5):
            add_log(cursor, evolve(LINE, message=str(number)))  # type: ignore[arg-type]  # a cursor

    await store.run(add_log, evolve(LINE, deployment="two"))
    await store.run(many)
    lines = await store.run(read_log, "shop", "one", 0)
    assert len(lines) == LOG_LINES_LIMIT
    assert lines[0].message == "5"
    assert len(await store.run(read_log, "shop", "two", 0)) == 1
