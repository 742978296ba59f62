"""Carries out one deployment: image, then the steps of its plan.

When a step fails, C{deploy.undo} brings the old version back.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger

from haloy.config.options import health_timeout_s
from haloy.deploy import plan
from haloy.deploy.containers import (
    container_spec,
    named_volumes,
    naming_of,
    network_problem,
    replica_count,
    strategy_of,
    volume_labels,
)
from haloy.deploy.discovery import TOLD
from haloy.deploy.failure import as_told
from haloy.deploy.interface import DeploymentState
from haloy.deploy.obtain import obtain_image, refuse_port
from haloy.deploy.phases import Phase, phase_of
from haloy.deploy.progress import Progress, Tools, together, wait_at_most
from haloy.deploy.readiness import last_lines, why_not_running
from haloy.deploy.undo import undo
from haloy.engine.address import reachable_address, why_unreachable
from haloy.engine.interface import ContainerSpec, ContainerState, HealthState
from haloy.errors import (
    Conflict,
    DeployFailed,
    EngineUnavailable,
    HaloyError,
    InsufficientStorage,
    NotFound,
)
from haloy.model.app import Replica
from haloy.model.labels import APP, INSTANCE, MANAGED_BY
from haloy.model.names import DEFAULT_NETWORK
from haloy.proxy.interface import DrainLimits
from haloy.store.deployments import note_failure, set_image, set_state
from haloy.store.replicas import add_replica, rename_replica, set_container
from haloy.tasks import Tasks


@define(eq=False)
class DeploymentRun:
    """One deployment being carried out."""

    _tools: Tools
    progress: Progress
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _looking: Deferred[None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Own what goes on beside the steps."""
        self._tasks = Tasks(self._log)
        self._looking = succeed(None)

    async def carry_out(self) -> None:
        """Move traffic to the new version. @raise HaloyError: and nothing has moved.

        After a failure the old version serves again, and no container of the new
        one is left. Cancelling leaves everything as it is: the next start clears
        what is there.
        """
        now = self.progress
        try:
            with self._during(Phase.PULLING):
                await self._prepare()
            old = tuple(one.container.id for one in now.old)
            for step in plan.make_plan(
                strategy_of(now.target),
                naming_of(now.target),
                replica_count(now.target),
                old,
            ):
                with self._during(phase_of(step)):
                    await self._do(step)
        except CancelledError:
            self._tasks.cancel()
            raise
        except Exception as problem:
            await self.undo(problem)
            raise
        finally:
            self._looking.cancel()

    async def undo(self, problem: Exception) -> None:
        """Let the old version serve again, and leave nothing of the new one.

        The way back may take long. Why it is gone is written before: should haloyd be
        killed on it, the next start tells C{problem} and not that it was interrupted.
        """
        row, told = self.progress.row, as_told(problem)
        try:
            await self._tools.database.run(
                note_failure, row.app, row.id, told.failure, told.reason
            )
        except HaloyError as trouble:
            self._log.warn(
                "why deployment {id} of {app} fails is not noted: {problem}",
                id=row.id,
                app=row.app,
                problem=str(trouble),
            )
        doubt = isinstance(problem, EngineUnavailable)
        await undo(self._tools, self.progress, doubt)

    # --- before the first container --------------------------------------------

    async def _prepare(self) -> None:
        now = self.progress
        try:
            await self._tools.traffic.claim(now.app.name, now.app.domains)
        except Conflict as problem:
            raise DeployFailed(str(problem), failure="domain-taken") from problem
        network = now.target.network or DEFAULT_NETWORK
        problem_text = network_problem(network) if now.app.domains else ""
        if problem_text:
            raise DeployFailed(problem_text, failure="network")
        self._looking = self._tasks.start("looking at domains", self._look_ahead())
        await self._state(DeploymentState.PULLING)
        now.ref, image = await obtain_image(
            self._tools.engine,
            now.app.name,
            now.row.id,
            now.image,
            self._tools.stored_credentials,
            self._say,
            self._tools.disk,
        )
        await self._tools.database.run(
            set_image, now.app.name, now.row.id, now.ref, image.id
        )
        labels = volume_labels(now.app.name)
        for volume in named_volumes(now.target):
            await self._tools.engine.ensure_volume(volume, labels)
        await self._ensure_network(network)
        await self._state(DeploymentState.STARTING)

    async def _look_ahead(self) -> None:
        """Say why certificates may not come; the deployment goes on meanwhile."""
        names = self._tools.names
        if names is not None:
            for text in await names.look_ahead(self.progress.app.domains):
                self._tools.journal.say(
                    self.progress.app.name, self.progress.row.id, text, level="WARN"
                )

    async def _ensure_network(self, network: str) -> None:
        """Make Haloy's own network; one of the app's own must be there."""
        if network == DEFAULT_NETWORK:
            await self._tools.engine.ensure_network(network)
            return
        special = network in {"host", "none"} or ":" in network
        if not special and not await self._tools.engine.has_network(network):
            raise DeployFailed(
                f"there is no network {network} on the server; "
                f"make it with `docker network create {network}`",
                failure="network",
            )

    # --- steps ------------------------------------------------------------------

    async def _do(self, step: plan.Step) -> None:
        traffic, now = self._tools.traffic, self.progress
        match step:
            case plan.Create(number):
                await self._create(number)
            case plan.AwaitHealthy(numbers):
                await self._state(DeploymentState.CHECKING)
                await together([self._healthy(number) for number in numbers])
            case plan.Switch(numbers, old):
                await self._switch(numbers, old)
            case plan.DrainStep(containers):
                await traffic.drained(
                    now.old_replicas(containers),
                    DrainLimits(self._tools.drain_step_s, 0),
                )
            case plan.StopDrained(containers):
                await self._stop_drained(containers)
            case plan.Stop(containers):
                await self._stop(containers)
            case plan.SetAside(containers):
                await self._set_aside(containers)
            case plan.Park():
                now.parked = True
                await traffic.park(now.app.name, self._tools.park_limit_s)
            case plan.Unpark():
                await traffic.unpark(now.app.name)
                now.parked = False

    async def _create(self, number: int) -> None:
        now = self.progress
        spec = container_spec(
            now.target, now.row.id, number, now.ref, self._tools.instance
        )
        await self._tools.database.run(
            add_replica, spec.name, now.app.name, now.row.id, number
        )
        now.announced.add(spec.name)
        container_id = await self._make(spec)
        # Known before it starts, so that a failed start leaves nothing behind (D15).
        now.new[number] = Replica(
            container_id=container_id,
            name=spec.name,
            app=now.app.name,
            deployment=now.row.id,
            number=number,
            address=None,
            managed=True,
            running=False,
        )
        await self._tools.database.run(set_container, spec.name, container_id)
        created = await self._tools.engine.container(container_id)
        if now.app.domains:
            refuse_port(created, now.app.port)
        try:
            await self._tools.engine.start(container_id)
        except (EngineUnavailable, InsufficientStorage):
            raise
        except HaloyError as problem:
            raise DeployFailed(
                f"{spec.name} does not start: {problem}", failure="start"
            ) from problem
        self._say("Started replica", {"replica": str(number), "container": spec.name})

    async def _make(self, spec: ContainerSpec) -> str:
        """Create a container, if need be in the place of a dead one of this app."""
        engine = self._tools.engine
        try:
            return await engine.create(spec)
        except Conflict as problem:
            conflict = problem
        try:
            there = await engine.container(spec.name)
        except NotFound:
            return await engine.create(spec)
        in_use = {one.container.id for one in self.progress.old}
        ours = all(
            there.labels.get(key) == spec.labels.get(key)
            for key in (APP, MANAGED_BY, INSTANCE)
        )
        dead = there.state in {ContainerState.EXITED, ContainerState.CREATED}
        if not (ours and dead) or there.id in in_use:
            raise DeployFailed(
                f"the container name {spec.name} is taken: {conflict}",
                failure="name-taken",
            ) from conflict
        await engine.remove(there.id)
        return await engine.create(spec)

    async def _healthy(self, number: int) -> None:
        now = self.progress
        replica = now.new[number]
        container = await self._tools.engine.container(replica.container_id)
        if now.app.domains or container.health is not HealthState.NONE:
            await self._tools.readiness.until_healthy(
                replica.container_id,
                now.app.health,
                now.app.port,
                now.target.network or DEFAULT_NETWORK,
                health_timeout_s(now.target),
            )
        else:
            await self._runs(replica)
        container = await self._tools.engine.container(replica.container_id)
        address = reachable_address(container, DEFAULT_NETWORK, now.app.port)
        if address is None and now.app.domains:
            raise DeployFailed(
                f"{replica.name} cannot be reached: {why_unreachable(container)}",
                failure="network",
            )
        now.new[number] = evolve(
            replica,
            address=address,
            running=True,
            started_at=container.started_at,
            told=TOLD[container.health],
        )
        self._say("Replica is healthy", {"replica": str(number)})

    async def _runs(self, replica: Replica) -> None:
        """Check a worker, which has no domain and so no HTTP to ask: it must run."""
        settle_s = max(self.progress.app.health.min_ready_s, self._tools.settle_s)
        await deferLater(self._tools.clock, settle_s)
        container = await self._tools.engine.container(replica.container_id)
        if container.state is not ContainerState.RUNNING or container.restarts:
            raise DeployFailed(
                f"{replica.name}: {why_not_running(container)}",
                failure="oom" if container.oom_killed else "exited",
                logs=await last_lines(self._tools.engine, container.id),
            )

    async def _switch(self, numbers: tuple[int, ...], old: tuple[str, ...]) -> None:
        now = self.progress
        replicas = tuple(now.new[number] for number in numbers)
        gone = now.old_replicas(old)
        now.admitted |= {one.container_id for one in replicas}
        now.admitted -= set(old)
        if replicas:
            await self._tools.traffic.admit(now.app, replicas, gone)
        else:
            await self._tools.traffic.retire(gone)

    async def _stop_drained(self, containers: tuple[str, ...]) -> None:
        """Stop what has nothing left; the others go when the deployment is live.

        One that takes its time to end does not hold the next step up.
        """
        now = self.progress
        for container in containers:
            left = await self._tools.traffic.drained(
                now.old_replicas((container,)), DrainLimits(0, 0)
            )
            if not (left.requests or left.tunnels):
                stopping = self._tasks.start(
                    f"stopping {container[:12]}", self._stop((container,))
                )
                now.stopping.append(stopping)
                await wait_at_most(self._tools.clock, stopping, self._tools.stop_step_s)

    async def _stop(self, containers: tuple[str, ...]) -> None:
        self.progress.stopped.update(containers)
        grace_s = self._tools.stop_grace_s
        await together([self._tools.engine.stop(one, grace_s) for one in containers])
        self._say("Stopped old replicas", {"count": str(len(containers))})

    async def _set_aside(self, containers: tuple[str, ...]) -> None:
        """Rename the one that has the name of its successor; others are in no way."""
        now = self.progress
        for found in now.old:
            in_the_way = found.container.name == now.app.name
            if in_the_way and found.container.id in containers:
                now.aside[found.container.id] = found.container.name
                await self._tools.engine.rename(found.container.id, found.aside)
                await self._tools.database.run(
                    rename_replica, found.container.name, found.aside
                )

    # --- telling --------------------------------------------------------------------

    def _during(self, phase: Phase) -> AbstractContextManager[None]:
        return self._tools.phases.during(self.progress.app.name, phase)

    async def _state(self, state: DeploymentState) -> None:
        now = self.progress
        await self._tools.database.run(set_state, now.app.name, now.row.id, state.value)

    def _say(
        self, message: str, fields: Mapping[str, str], level: str = "INFO"
    ) -> None:
        now = self.progress
        self._tools.journal.say(now.app.name, now.row.id, message, fields, level)
