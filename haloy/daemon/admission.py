"""From "it runs" to "it serves", for replicas that no deployment is admitting now.

After a restart of Docker, of a container or of haloyd, and for containers started
by hand, reconciliation tells which replicas ought to serve. Each is probed at
once; the first success admits it (rule 5 of C{docs/architecture.md}: a route is
changed only when there is a verdict). A failing one is probed again with back-off
and is never removed: a manual container belongs to whoever started it (D29).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from haloy.daemon.routing import Routing
from haloy.deploy.interface import Readiness
from haloy.errors import HaloyError
from haloy.model.app import App, Replica
from haloy.tasks import Tasks

PROBE_LIMIT_S = 30.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0


@frozen
class _Life:
    """One life of a container: a restart changes address or start time."""

    container: str
    host: str
    started_at: datetime | None


@define(eq=False)
class Admission:
    """Admits discovered replicas as soon as they are fit.

    @ivar _watch: told every set of replicas that ought to serve, so that the
        health monitor watches all of them, routed or not.
    """

    _routing: Routing
    _readiness: Readiness
    _reactor: IReactorTime
    _watch: Callable[[tuple[App, ...]], None]
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _trying: dict[_Life, Deferred[None]] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the probes."""
        self._tasks = Tasks(self._log)

    def discovered(self, apps: tuple[App, ...]) -> None:
        """Take what ought to serve now; what is gone from it is tried no more."""
        self._watch(apps)
        wanted = {
            _life(replica): (app, replica)
            for app in apps
            for replica in app.replicas
            if replica.running and replica.address is not None
        }
        for life in self._trying.keys() - wanted.keys():
            self._trying.pop(life).cancel()
        for app in apps:
            for replica in app.replicas:
                self._leave_old_address(replica)
        for life, (app, replica) in wanted.items():
            if life not in self._trying and not self._serves(app, replica):
                running = self._tasks.start(
                    f"admitting {replica.name}", self._admit(life, app, replica)
                )
                if not running.called:
                    self._trying[life] = running

    async def stop(self) -> None:
        """Try nothing more."""
        await self._tasks.stop()

    def _serves(self, app: App, replica: Replica) -> bool:
        """Return whether exactly this life of C{replica} is admitted already."""
        intents = self._routing.intents
        admitted = intents.admitted.get(replica.container_id)
        described = intents.apps.get(app.name)
        return (
            admitted is not None
            and described is not None
            and _life(admitted) == _life(replica)
            and (described.domains, described.proxy) == (app.domains, app.proxy)
        )

    def _leave_old_address(self, replica: Replica) -> None:
        """Send nothing to an address that is another container's by now (E2)."""
        admitted = self._routing.intents.admitted.get(replica.container_id)
        if admitted is not None and admitted.address != replica.address:
            self._routing.died(replica.container_id)

    def _succeeded(self, replica: Replica) -> tuple[Replica, ...]:
        """Return whom a container started by hand takes over from.

        Those of the deployment id before its own go on running: they belong to
        whoever started them. What we made is switched by deployments alone.
        """
        return tuple(
            one
            for one in self._routing.intents.admitted.values()
            if one.app == replica.app
            and one.deployment != replica.deployment
            and not (one.managed or replica.managed)
        )

    async def _admit(self, life: _Life, app: App, replica: Replica) -> None:
        retry_s = FIRST_RETRY_S
        try:
            while True:
                try:
                    await self._readiness.until_healthy(
                        replica.container_id, app.health, app.port, "", PROBE_LIMIT_S
                    )
                    break
                except HaloyError as problem:
                    self._log.warn(
                        "{replica} of {app} does not serve yet: {reason}",
                        replica=replica.name,
                        app=app.name,
                        reason=str(problem),
                    )
                await deferLater(self._reactor, retry_s)
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
            await self._routing.admit(app, (replica,), self._succeeded(replica))
            self._log.info("{replica} serves", replica=replica.name, app=app.name)
        finally:
            self._trying.pop(life, None)


def _life(replica: Replica) -> _Life:
    host = replica.address.host if replica.address else ""
    return _Life(replica.container_id, host, replica.started_at)
