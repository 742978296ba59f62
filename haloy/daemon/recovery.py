"""What of an earlier life still holds: routes to containers that still run.

At start the snapshot is served before anything is probed, but only for containers
that run now, at the address they have now: an address may have been given to
another container meanwhile (E2). While Docker is away the snapshot is taken as it is.
"""

from __future__ import annotations

from attrs import evolve

from haloy.daemon.intents import Intents
from haloy.deploy.discovery import discover
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.model.labels import APP
from haloy.model.names import DomainName


async def still_running(
    kept: Intents, engine: Engine, api_domain: DomainName | None
) -> Intents:
    """Return C{kept} without what is gone; addresses are the present ones."""
    kept = evolve(kept, api_domain=api_domain, claims={})
    try:
        containers = await engine.containers({APP: None})
    except HaloyError:
        return kept
    found, _ = discover(containers, ())
    present = {one.container.id: one for one in found if one.running}
    admitted = {}
    for key, replica in kept.admitted.items():
        one = present.get(key)
        if one is not None and one.replica.address is not None:
            admitted[key] = evolve(replica, address=one.replica.address)
    return evolve(kept, admitted=admitted, ejected=kept.ejected & admitted.keys())
