"""What is left when traffic has moved: draining the old replicas, then removing them.

A long drain (WebSockets, downloads) goes on in the background, is shown in
C{status} and is taken up again after a restart: each draining container is marked
in the database before anything is waited for.
"""

from __future__ import annotations

from contextlib import suppress

from attrs import define, field
from twisted.logger import Logger

from haloy.deploy.interface import Traffic
from haloy.deploy.phases import Phase, PhaseTimes
from haloy.engine.interface import Engine
from haloy.errors import HaloyError, NotFound
from haloy.model.app import Replica
from haloy.proxy.interface import DrainLimits
from haloy.store.database import Database
from haloy.store.replicas import forget_replicas, set_draining
from haloy.tasks import Tasks


@define(eq=False)
class Aftercare:
    """Drains, stops and removes exactly the containers it is given."""

    _engine: Engine
    _traffic: Traffic
    _database: Database
    _phases: PhaseTimes
    _stop_grace_s: int
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _going: set[str] = field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the drains."""
        self._tasks = Tasks(self._log)

    @property
    def draining(self) -> frozenset[str]:
        """The containers that are on their way out."""
        return frozenset(self._going)

    def begin(self, replicas: tuple[Replica, ...], limits: DrainLimits) -> None:
        """Mark C{replicas} and let them go in the background."""
        fresh = [one for one in replicas if one.container_id not in self._going]
        self._going |= {one.container_id for one in fresh}
        for replica in fresh:
            self._tasks.start(f"draining {replica.name}", self._let_go(replica, limits))

    async def stop(self) -> None:
        """Wait no longer; the marks in the database tell where to go on."""
        await self._tasks.stop()

    async def _let_go(self, replica: Replica, limits: DrainLimits) -> None:
        container = replica.container_id
        try:
            await self._database.run(set_draining, [container])
            with self._phases.during(replica.app, Phase.DRAINING):
                left = await self._traffic.drained((replica,), limits)
            if left.requests or left.tunnels:
                self._log.warn(
                    "{replica} is stopped with {requests} requests and {tunnels} "
                    "tunnels still open: its drain limits have passed",
                    replica=replica.name,
                    requests=left.requests,
                    tunnels=left.tunnels,
                )
            with suppress(NotFound):  # gone already: that is what was wanted
                await self._engine.stop(container, self._stop_grace_s)
                await self._engine.remove(container)
            await self._database.run(forget_replicas, [container])
        except HaloyError as problem:
            self._log.warn(
                "{replica} could not be removed yet: {problem}",
                replica=replica.name,
                problem=str(problem),
            )
        finally:
            self._going.discard(container)
