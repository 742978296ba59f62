"""What old deployments leave in the database."""

from __future__ import annotations

from haloy.store.database import Database
from haloy.store.deployments import find_deployment
from haloy.store.forgetting import forget_deployments, give_up_targets
from haloy.store.logs import read_log
from tests.store.test_deployments import ONE, TWO, live, row_of, shared_rows


async def test_forgetting(store: Database) -> None:
    """A forgotten deployment leaves neither rows nor log, here and for Go."""
    await live(store, ONE)
    await live(store, TWO)
    await store.run(forget_deployments, "shop", [ONE])
    assert await store.run(find_deployment, "shop", ONE) is None
    assert await store.run(read_log, "shop", ONE, 0) == []
    assert [row[0] for row in await store.run(shared_rows)] == [TWO]


async def test_giving_up(store: Database) -> None:
    """Nobody goes back to it, here or by Go; how it ended can still be read."""
    await live(store, ONE)
    await live(store, TWO)
    await store.run(give_up_targets, "shop", [ONE])
    assert (await row_of(store, ONE)).image_ref == ""
    assert (await store.run(read_log, "shop", ONE, 0))[-1].complete
    assert [row[0] for row in await store.run(shared_rows)] == [TWO]
