"""What of an earlier life still holds: routes to containers that still run.

At start the snapshot is served before anything is probed, but only for containers
that run now, at the address they have now: an address may have been given to
another container meanwhile (E2). While Docker is away the snapshot is taken as it is.

A snapshot may be older than what was served last, since it is written after the table
and a disk may refuse it: then containers run that it does not know.
"""

from __future__ import annotations

from attrs import evolve, frozen

from haloy.daemon.intents import Intents
from haloy.deploy.discovery import discover
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.labels import APP
from haloy.model.names import DomainName


@frozen
class Recovered:
    """What of an earlier life is served at start.

    @ivar whole: no container of an app runs that C{intents} do not know. If one does,
        a table of them might take away the route it was given last.
    """

    intents: Intents
    whole: bool


async def still_running(
    kept: Intents, engine: Engine, api_domain: DomainName | None, instance: str
) -> Recovered:
    """Return C{kept} without what is gone; addresses are the present ones.

    @param instance: which haloyd asks; containers of another one do not matter.
    """
    kept = evolve(kept, api_domain=api_domain, claims={})
    try:
        containers = await engine.containers({APP: None})
    except HaloyError:
        return Recovered(kept, whole=True)
    found, _ = discover(containers, (), instance)
    present = {one.container.id: one for one in found if one.running}
    admitted = {}
    for key, replica in kept.admitted.items():
        one = present.get(key)
        if one is not None and one.replica.address is not None:
            admitted[key] = evolve(replica, address=one.replica.address)
    served = evolve(kept, admitted=admitted, ejected=kept.ejected & admitted.keys())
    return Recovered(served, whole=present.keys() <= kept.admitted.keys())
