"""How far a deployment has come: what its steps and the way back both must know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime

from haloy.config.app_file import ImageConfig, Target
from haloy.deploy.containers import app_of
from haloy.deploy.discovery import Found
from haloy.deploy.interface import Names, Readiness, Traffic
from haloy.deploy.journal import Journal
from haloy.deploy.phases import PhaseTimes
from haloy.deploy.pulling import UNSEEN, DockerDisk
from haloy.engine.interface import Credentials, Engine
from haloy.model.app import App, Replica
from haloy.store.database import Database
from haloy.store.deployments import DeploymentRow

STOP_GRACE_S = 20
DRAIN_STEP_S = 10.0
PARK_LIMIT_S = 60.0
#: How long a step of a roll waits for a container to end; it may end later.
STOP_STEP_S = 2.0
#: How long a worker, which has no domain to ask, must have run.
SETTLE_S = 1.0


def no_credentials(server: str) -> Credentials | None:
    """Know no registry."""
    return None


@frozen
class Tools:
    """What every deployment works with.

    @ivar stored_credentials: the daemon's own login at a registry, by its host.
    @ivar instance: which haloyd this is.
    @ivar names: what is to be said of domains, C{None}: nothing is known.
    @ivar phases: how long what took.
    @ivar disk: Docker's own.
    """

    engine: Engine
    traffic: Traffic
    readiness: Readiness
    database: Database
    journal: Journal
    clock: IReactorTime
    phases: PhaseTimes
    stored_credentials: Callable[[str], Credentials | None] = no_credentials
    instance: str = ""
    stop_grace_s: int = STOP_GRACE_S
    drain_step_s: float = DRAIN_STEP_S
    park_limit_s: float = PARK_LIMIT_S
    settle_s: float = SETTLE_S
    stop_step_s: float = STOP_STEP_S
    names: Names | None = None
    disk: DockerDisk = UNSEEN


@define(eq=False)
class Progress:
    """One deployment on its way.

    @ivar old_app: the app as it serves until now, C{None} on a first deployment.
    @ivar old: its containers, in the order in which they go.
    @ivar new: the new replicas that exist, by number.
    @ivar admitted: the containers that get requests now.
    @ivar stopping: stops that go on beside the steps.
    @ivar aside: old containers under another name: id -> the name they had.
    """

    row: DeploymentRow
    target: Target
    old_app: App | None
    old: tuple[Found, ...]
    app: App = field(init=False)
    ref: str = ""
    new: dict[int, Replica] = field(factory=dict, init=False)
    announced: set[str] = field(factory=set, init=False)
    admitted: set[str] = field(init=False)
    stopped: set[str] = field(factory=set, init=False)
    stopping: list[Deferred[None]] = field(factory=list, init=False)
    aside: dict[str, str] = field(factory=dict, init=False)
    parked: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        """Know the app as it will be, and who serves it now."""
        self.app = app_of(self.target, self.row.id)
        self.admitted = {one.container.id for one in self.old if one.running}

    @property
    def image(self) -> ImageConfig:
        """The image as configured."""
        return self.target.image or ImageConfig(repository=self.app.name)

    def old_replicas(self, containers: tuple[str, ...]) -> tuple[Replica, ...]:
        """Return these old containers as replicas."""
        return tuple(one.replica for one in self.old if one.container.id in containers)

    def serving(self, members: tuple[Found, ...]) -> tuple[App, ...]:
        """Return who ought to serve at this moment, as two apps of one name.

        Both have the domains and options of the newest that was admitted, and each
        its own port and health check.

        @param members: the app's containers as they are now.
        """
        newest = self.app if self._new_serves else self.old_app
        found = []
        for source in (self.old_app, self.app):
            if source is None or newest is None:
                continue
            replicas = tuple(
                one.replica
                for one in members
                if one.container.id in self.admitted
                and one.labels.deployment == source.deployment
                and one.running
            )
            if replicas:
                described = evolve(source, domains=newest.domains, proxy=newest.proxy)
                found.append(evolve(described, replicas=replicas))
        return tuple(found)

    @property
    def _new_serves(self) -> bool:
        return any(one.container_id in self.admitted for one in self.new.values())


Say = Callable[[str, Mapping[str, str]], None]


async def together(doing: list[Awaitable[None]]) -> None:
    """Wait for all of C{doing}. @raise Exception: the first that one of them raised."""
    started: list[Deferred[Any]] = [
        Deferred.fromCoroutine(_awaited(one)) for one in doing
    ]
    try:
        await gatherResults(started, consumeErrors=True)
    except FirstError as first:
        for one in started:
            one.cancel()
        first.subFailure.raiseException()


async def wait_at_most(
    clock: IReactorTime, doing: Deferred[None], limit_s: float
) -> None:
    """Wait for C{doing}, but no longer than C{limit_s}; it goes on in any case."""
    waited: Deferred[None] = Deferred()
    timer = clock.callLater(limit_s, waited.callback, None)

    def ended(result: object) -> object:
        if not waited.called:
            waited.callback(None)
        return result

    doing.addBoth(ended)
    try:
        await waited
    finally:
        if timer.active():
            timer.cancel()


async def _awaited(one: Awaitable[None]) -> None:
    await one
