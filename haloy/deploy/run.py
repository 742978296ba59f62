"""Carries out one deployment: image, steps, and the way back when one fails."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from haloy.config.app_file import ImageConfig, Target
from haloy.config.options import health_timeout_s
from haloy.deploy import plan
from haloy.deploy.containers import (
    DEFAULT_NETWORK,
    app_of,
    container_name,
    container_spec,
    named_volumes,
    naming_of,
    replica_count,
    strategy_of,
    volume_labels,
)
from haloy.deploy.discovery import Found
from haloy.deploy.interface import DeploymentState, Readiness, Traffic
from haloy.deploy.journal import Journal
from haloy.deploy.obtain import obtain_image, refuse_port
from haloy.engine.address import reachable_address, why_unreachable
from haloy.engine.interface import ContainerState, Engine
from haloy.errors import Conflict, DeployFailed, HaloyError, NotFound
from haloy.model.app import App, Replica
from haloy.proxy.interface import DrainLimits
from haloy.store.database import Database
from haloy.store.deployments import (
    DeploymentRow,
    add_replica,
    forget_replicas,
    rename_replica,
    set_container,
    set_image,
    set_state,
)
from haloy.tasks import Tasks

STOP_GRACE_S = 20
DRAIN_STEP_S = 10.0
PARK_LIMIT_S = 60.0


@define(eq=False)
class Tools:
    """What every run works with."""

    engine: Engine
    traffic: Traffic
    readiness: Readiness
    database: Database
    journal: Journal
    stop_grace_s: int = STOP_GRACE_S
    drain_step_s: float = DRAIN_STEP_S


@define(eq=False)
class DeploymentRun:
    """One deployment on its way.

    @ivar old_app: the app as it serves until now, C{None} on a first deployment.
    @ivar old: its containers, in the order in which they go.
    """

    _tools: Tools
    row: DeploymentRow
    target: Target
    old_app: App | None
    old: tuple[Found, ...]
    app: App = field(init=False)
    _ref: str = field(default="", init=False)
    _new: dict[int, Replica] = field(factory=dict, init=False)
    _retired: set[str] = field(factory=set, init=False)
    _stopped: set[str] = field(factory=set, init=False)
    _aside: dict[str, str] = field(factory=dict, init=False)
    _parked: bool = field(default=False, init=False)
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Know the app as it will be."""
        self.app = app_of(self.target, self.row.id)
        self._tasks = Tasks(self._log)

    @property
    def image(self) -> ImageConfig:
        """The image as configured."""
        return self.target.image or ImageConfig(repository=self.app.name)

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """The new replicas that exist."""
        return tuple(self._new.values())

    async def carry_out(self) -> None:
        """Move traffic to the new version. @raise HaloyError: and nothing has moved.

        After a failure the old version serves again, and no container of the new
        one is left.
        """
        try:
            await self._prepare()
            old = tuple(one.container.id for one in self.old)
            for step in plan.make_plan(
                strategy_of(self.target), naming_of(self.target), self._count, old
            ):
                await self._do(step)
        except Exception:
            await self._undo()
            raise

    @property
    def _count(self) -> int:
        return replica_count(self.target)

    # --- before the first container --------------------------------------------

    async def _prepare(self) -> None:
        try:
            await self._tools.traffic.claim(self.app.name, self.app.domains)
        except Conflict as problem:
            raise DeployFailed(str(problem), failure="domain-taken") from problem
        await self._state(DeploymentState.PULLING)
        self._ref, image = await obtain_image(
            self._tools.engine, self.app.name, self.row.id, self.image, self._say
        )
        await self._tools.database.run(
            set_image, self.app.name, self.row.id, self._ref, image.id
        )
        labels = volume_labels(self.app.name)
        for volume in named_volumes(self.target):
            await self._tools.engine.ensure_volume(volume, labels)
        if (self.target.network or DEFAULT_NETWORK) == DEFAULT_NETWORK:
            await self._tools.engine.ensure_network(DEFAULT_NETWORK)
        await self._state(DeploymentState.STARTING)

    # --- steps ------------------------------------------------------------------

    async def _do(self, step: plan.Step) -> None:
        match step:
            case plan.Create(number):
                await self._create(number)
            case plan.AwaitHealthy(numbers):
                await self._await_healthy(numbers)
            case plan.Admit(numbers):
                replicas = tuple(self._new[number] for number in numbers)
                await self._tools.traffic.admit(self.app, replicas)
            case plan.Retire(containers):
                self._retired.update(containers)
                await self._tools.traffic.retire(self._replicas(containers))
            case plan.DrainStep(containers):
                await self._tools.traffic.drained(
                    self._replicas(containers), DrainLimits(self._tools.drain_step_s, 0)
                )
            case plan.StopDrained(containers):
                await self._stop_drained(containers)
            case plan.Stop(containers):
                await self._stop(containers)
            case plan.SetAside(containers):
                await self._set_aside(containers)
            case plan.Park():
                self._parked = True
                await self._tools.traffic.park(self.app.name, PARK_LIMIT_S)
            case plan.Unpark():
                self._parked = False
                await self._tools.traffic.unpark(self.app.name)

    async def _create(self, number: int) -> None:
        name = container_name(self.target, self.row.id, number)
        await self._tools.database.run(
            add_replica, name, self.app.name, self.row.id, number
        )
        spec = container_spec(self.target, self.row.id, number, self._ref)
        try:
            container_id = await self._tools.engine.create(spec)
        except Conflict as problem:
            raise DeployFailed(
                f"the container name {name} is taken by a container that is not "
                f"this app's ({problem})",
                failure="name-taken",
            ) from problem
        await self._tools.database.run(set_container, name, container_id)
        # Known before it starts, so that a failed start leaves nothing behind (D15).
        self._new[number] = Replica(
            container_id=container_id,
            name=name,
            app=self.app.name,
            deployment=self.row.id,
            number=number,
            address=None,
            managed=True,
            running=False,
        )
        created = await self._tools.engine.container(container_id)
        if self.app.domains:
            refuse_port(created, self.app.port)
        try:
            await self._tools.engine.start(container_id)
        except HaloyError as problem:
            raise DeployFailed(
                f"{name} does not start: {problem}", failure="start"
            ) from problem
        self._say("Started replica", {"replica": str(number), "container": name})

    async def _await_healthy(self, numbers: tuple[int, ...]) -> None:
        await self._state(DeploymentState.CHECKING)
        await gatherResults(
            [Deferred.fromCoroutine(self._healthy(number)) for number in numbers],
            consumeErrors=True,
        ).addErrback(_unwrap)

    async def _healthy(self, number: int) -> None:
        replica = self._new[number]
        if not self.app.domains:
            await self._runs(replica)
        else:
            await self._tools.readiness.until_healthy(
                replica.container_id,
                self.app.health,
                self.app.port,
                self.target.network or DEFAULT_NETWORK,
                health_timeout_s(self.target),
            )
        container = await self._tools.engine.container(replica.container_id)
        address = reachable_address(container, DEFAULT_NETWORK, self.app.port)
        if address is None and self.app.domains:
            raise DeployFailed(
                f"{replica.name} cannot be reached: {why_unreachable(container)}",
                failure="network",
            )
        self._new[number] = evolve(
            replica, address=address, running=True, started_at=container.started_at
        )
        self._say("Replica is healthy", {"replica": str(number)})

    async def _runs(self, replica: Replica) -> None:
        """Check a worker, which has no domain and so no HTTP to ask: it must run."""
        container = await self._tools.engine.container(replica.container_id)
        if container.state is not ContainerState.RUNNING or container.restarts:
            raise DeployFailed(
                f"{replica.name} exited with code {container.exit_code}",
                failure="oom" if container.oom_killed else "exited",
            )

    async def _stop_drained(self, containers: tuple[str, ...]) -> None:
        """Stop what has no tunnel; the others go when the deployment is live."""
        for container in containers:
            left = await self._tools.traffic.drained(
                self._replicas((container,)), DrainLimits(0, 0)
            )
            if not left.tunnels:
                await self._stop((container,))

    async def _stop(self, containers: tuple[str, ...]) -> None:
        self._stopped.update(containers)
        await gatherResults(
            [
                Deferred.fromCoroutine(
                    self._tools.engine.stop(one, self._tools.stop_grace_s)
                )
                for one in containers
            ],
            consumeErrors=True,
        ).addErrback(_unwrap)
        self._say("Stopped old replicas", {"count": str(len(containers))})

    async def _set_aside(self, containers: tuple[str, ...]) -> None:
        for found in self.old:
            if found.container.id in containers:
                name = found.container.name
                aside = f"{self.app.name}-{found.labels.deployment}-old"
                self._aside[found.container.id] = name
                await self._rename(found.container.id, name, aside)

    async def _rename(self, container: str, name: str, to: str) -> None:
        await self._tools.engine.rename(container, to)
        await self._tools.database.run(rename_replica, name, to)

    # --- the way back -------------------------------------------------------------

    async def _undo(self) -> None:
        """Let the old version serve again and remove the new one's containers."""
        await self._try("retiring the new version", self._retire_new())
        for number in tuple(self._new):
            replica = self._new.pop(number)
            await self._try(f"removing {replica.name}", self._remove(replica))
        for container, name in self._aside.items():
            aside = next(
                f"{self.app.name}-{one.labels.deployment}-old"
                for one in self.old
                if one.container.id == container
            )
            await self._try(f"renaming {name}", self._rename(container, aside, name))
        if self.old_app is not None:
            await self._try("bringing the old version back", self._bring_back())
        if self._parked:
            await self._try("unparking", self._tools.traffic.unpark(self.app.name))

    async def _retire_new(self) -> None:
        if self._new:
            await self._tools.traffic.retire(self.replicas)

    async def _remove(self, replica: Replica) -> None:
        await self._tools.engine.remove(replica.container_id)
        await self._tools.database.run(forget_replicas, [replica.container_id])

    async def _bring_back(self) -> None:
        if self.old_app is None:
            return
        for found in self.old:
            container = found.container.id
            if container not in self._retired:
                continue
            if container in self._stopped:
                await self._tools.engine.start(container)
                if self.old_app.domains:
                    await self._tools.readiness.until_healthy(
                        container,
                        self.old_app.health,
                        self.old_app.port,
                        DEFAULT_NETWORK,
                        health_timeout_s(self.target),
                    )
            again = await self._tools.engine.container(container)
            replica = evolve(found, container=again).replica
            await self._tools.traffic.admit(self.old_app, (replica,))

    async def _try(self, what: str, doing: object) -> None:
        """Go on with the way back whatever happens on it; say what did not work."""
        try:
            await doing  # type: ignore[misc]  # a coroutine
        except NotFound:
            return
        except HaloyError as problem:
            self._log.error(
                "{what} after a failed deployment of {app}: {problem}",
                what=what,
                app=self.app.name,
                problem=str(problem),
            )

    # --- telling --------------------------------------------------------------------

    async def _state(self, state: DeploymentState) -> None:
        await self._tools.database.run(
            set_state, self.app.name, self.row.id, state.value
        )

    def _say(self, message: str, fields: Mapping[str, str]) -> None:
        self._tasks.start(
            "writing the deployment's log",
            self._tools.journal.write(
                self.app.name, self.row.id, "INFO", message, fields
            ),
        )

    def _replicas(self, containers: tuple[str, ...]) -> tuple[Replica, ...]:
        return tuple(
            found.replica for found in self.old if found.container.id in containers
        )


def _unwrap(failure: object) -> object:
    """Take the cause out of the error that C{gatherResults} wraps it in."""
    inner = getattr(getattr(failure, "value", None), "subFailure", None)
    return inner if inner is not None else failure
