"""Which uploaded layers go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from haloy.daemon.layers import LayerShelf
from haloy.store.layers import put_layer, unused_layers
from tests.fakes.database import MemoryDatabase
from tests.fakes.threads import InlineClock, InlinePool

NOW = datetime(2026, 11, 24, tzinfo=UTC)
OLD, NEW = "sha256:" + "a" * 64, "sha256:" + "b" * 64


async def test_old_layers_go_with_their_rows(tmp_path: Path) -> None:
    """By when somebody last asked for them; a row that is no digest harms nothing."""
    database = MemoryDatabase()
    for digest, age in ((OLD, 40), (NEW, 1), ("sha256:../..", 40)):
        await database.run(put_layer, digest, 1, NOW - timedelta(days=age))
        (tmp_path / "layers" / digest.removeprefix("sha256:")).mkdir(
            parents=True, exist_ok=True
        )
    (tmp_path / "layers" / ("a" * 64) / "layer.tar").write_text("x")
    shelf = LayerShelf(
        InlineClock(),
        cast(Any, InlinePool()),
        cast(Any, database),
        tmp_path / "layers",
    )
    assert await shelf.clear(NOW - timedelta(days=30)) == 1
    assert [one.name for one in (tmp_path / "layers").iterdir()] == ["b" * 64]
    assert await database.run(unused_layers, NOW) == [NEW, "sha256:../.."]
    database.close()


async def test_times_of_a_go_daemon() -> None:
    """It writes them otherwise; one that cannot be read is old."""
    database = MemoryDatabase()
    database.connection.execute(
        "INSERT INTO layers (digest, size, last_used_at) VALUES "
        "('a', 1, '2026-11-24 10:00:00'), ('b', 1, 'yesterday'), ('c', 1, NULL)"
    )
    assert sorted(await database.run(unused_layers, NOW)) == ["b", "c"]
    database.close()
