"""Containers that have lost their network: it was removed, or they were taken off it.

C{docker network prune} and C{docker system prune} remove the network of an app that is
down, and Docker does not start what refers to one that is gone.
"""

from __future__ import annotations

from haloy.deploy.discovery import Found
from haloy.engine.interface import Engine
from haloy.errors import NotFound
from haloy.model.names import DEFAULT_NETWORK

_NO_NETWORK = frozenset({"", "none", "host", "default"})


def is_cut_off(one: Found) -> bool:
    """Return whether C{one} runs, was made for a network, and is on none. Pure."""
    mode = one.container.network_mode
    return (
        one.running
        and not one.container.networks
        and mode not in _NO_NETWORK
        and ":" not in mode
    )


async def start(engine: Engine, one: Found) -> None:
    """Start C{one}, on its network anew where that is what it lacks.

    @raise HaloyError: as L{attach}.
    """
    if is_cut_off(one):
        await attach(engine, one)
        return
    try:
        await engine.start(one.container.id)
    except NotFound:  # its network, by the id that it had
        await attach(engine, one)
        await engine.start(one.container.id)


async def attach(engine: Engine, one: Found) -> None:
    """Put C{one} on the network that it was made for.

    Haloy's own is made again if need be; one of the app's own must be there.
    @raise HaloyError: it is not, or Docker refuses.
    """
    network = one.container.network_mode
    if network == DEFAULT_NETWORK:
        await engine.ensure_network(network)
    await engine.attach(one.container.id, network)
