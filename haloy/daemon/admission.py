"""From "it runs" to "it serves", for replicas that no deployment is admitting now.

After a restart of Docker, of a container or of haloyd, and for containers started
by hand, reconciliation tells which replicas ought to serve. Each is probed at
once; the first success admits it (rule 5 of C{docs/architecture.md}: a route is
changed only when there is a verdict). A failing one is probed again with back-off
and is never removed: a manual container belongs to whoever started it (D29).

Those that are found fit within a moment are admitted by one table: after the loss of
the snapshot hundreds are, and a table costs more the more apps there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
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

FIRST_PROBE_LIMIT_S = 5.0
PROBE_LIMIT_S = 30.0
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 30.0
GATHER_S = 0.05


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
    _unjudged: set[_Life] = field(factory=set, init=False)
    _fit: dict[_Life, tuple[App, Replica]] = field(factory=dict, init=False)

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
        for app in apps:
            for replica in app.replicas:
                self._leave_old_address(replica)
        for life, (app, replica) in wanted.items():
            if life not in self._trying and not self._serves(app, replica):
                self._unjudged.add(life)
                asking = self._tasks.start(
                    f"asking {replica.name}", self._until_fit(life, app, replica)
                )
                self._trying[life] = asking
                asking.addCallback(self._asked, life)
        gone = self._trying.keys() - wanted.keys()
        for life in gone:
            self._fit.pop(life, None)
            self._trying.pop(life).cancel()
        self._have_verdicts(gone)

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

    async def _until_fit(self, life: _Life, app: App, replica: Replica) -> None:
        limit_s, retry_s = FIRST_PROBE_LIMIT_S, FIRST_RETRY_S
        while True:
            try:
                await self._readiness.until_healthy(
                    replica.container_id, app.health, app.port, "", limit_s
                )
                break
            except HaloyError as problem:
                self._log.warn(
                    "{replica} of {app} does not serve yet: {reason}",
                    replica=replica.name,
                    app=app.name,
                    reason=str(problem),
                )
            self._have_verdicts([life])
            await deferLater(self._reactor, retry_s)
            limit_s, retry_s = PROBE_LIMIT_S, min(retry_s * 2, LONGEST_RETRY_S)
        self._fit[life] = (app, replica)
        if len(self._fit) == 1:
            self._tasks.start("admitting what is fit", self._admit_fit())

    def _asked(self, _: None, life: _Life) -> None:
        """Let the next look try again what ended by a mistake of ours."""
        if life not in self._fit:
            self._trying.pop(life, None)
            self._have_verdicts([life])

    async def _admit_fit(self) -> None:
        """Route to all that are found fit within a moment."""
        await deferLater(self._reactor, GATHER_S)
        fit, self._fit = self._fit, {}
        self._routing.found_fit(
            (app, replica, self._succeeded(replica)) for app, replica in fit.values()
        )
        for life, (app, replica) in fit.items():
            self._log.info("{replica} serves", replica=replica.name, app=app.name)
            del self._trying[life]
        self._have_verdicts(fit)

    def _have_verdicts(self, lives: Iterable[_Life]) -> None:
        """Let routes be published when all that was discovered has a first verdict."""
        self._unjudged -= set(lives)
        if not self._unjudged:
            self._routing.go_on()


def _life(replica: Replica) -> _Life:
    host = replica.address.host if replica.address else ""
    return _Life(replica.container_id, host, replica.started_at)
