"""Who is cut off, and what is done about it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from haloy.deploy.discovery import Found, discover
from haloy.deploy.networks import attach, is_cut_off
from haloy.engine.interface import ContainerState
from haloy.errors import NotFound
from tests.deploy.world import ONE, World


async def found(server: World, **values: Any) -> Found:
    """Return the container of a deployment, with other values."""
    (container,) = await server.containers()
    ((one,), _) = discover((evolve(container, **values),), frozenset(), "")
    return one


async def test_who_is_cut_off(server: World) -> None:
    """What runs on no network and was made for one; what is down is not."""
    await server.deploy(ONE)
    assert not is_cut_off(await found(server))
    assert is_cut_off(await found(server, networks={}))
    down = ContainerState.EXITED
    assert not is_cut_off(await found(server, networks={}, state=down))
    for mode in ("host", "none", "container:other"):
        assert not is_cut_off(await found(server, networks={}, network_mode=mode))


async def test_a_network_of_the_apps_own(server: World) -> None:
    """Who made it makes it again: it is not ours to make."""
    await server.deploy(ONE)
    with pytest.raises(NotFound):
        await attach(server.engine, await found(server, network_mode="theirs"))
    assert not await server.engine.has_network("theirs")
