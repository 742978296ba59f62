"""Containers that are ours."""

from __future__ import annotations

from haloy.store.database import Database
from haloy.store.replicas import (
    add_replica,
    forget_announced,
    forget_replicas,
    rename_replica,
    replicas_of,
    set_container,
    set_draining,
)


async def names(store: Database) -> list[tuple[str, str, bool]]:
    found = await store.run(replicas_of, "shop")
    return [(one.name, one.container_id, one.draining) for one in found]


async def test_life_of_a_row(store: Database) -> None:
    """Announced, created, set aside, draining, gone."""
    await store.run(add_replica, "shop", "shop", "one", 1)
    assert await names(store) == [("shop", "", False)]
    await store.run(set_container, "shop", "c1")
    await store.run(rename_replica, "shop", "shop-one-old")
    await store.run(set_draining, ["c1"])
    assert await names(store) == [("shop-one-old", "c1", True)]
    await store.run(forget_replicas, ["c1"])
    assert await names(store) == []


async def test_never_made(store: Database) -> None:
    """Rows of containers that were never made go, the others stay."""
    await store.run(add_replica, "a", "shop", "one", 1)
    await store.run(add_replica, "b", "shop", "one", 2)
    await store.run(add_replica, "c", "shop", "two", 1)
    await store.run(set_container, "a", "c1")
    await store.run(forget_announced, "shop", "one")
    assert await names(store) == [("a", "c1", False), ("c", "", False)]
