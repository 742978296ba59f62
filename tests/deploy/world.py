"""A server in memory: the fake engine, a recorder of traffic, the real database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from haloy.config.app_file import DomainEntry, History, ImageConfig, Target
from haloy.config.daemon_file import PolicySettings
from haloy.deploy.interface import AppStatus, DeployRequest, LogEntry
from haloy.deploy.service import DeployService, deploy_service
from haloy.engine.interface import Container, ContainerSpec, ContainerState
from haloy.errors import Conflict, DeployFailed, NotFound
from haloy.model.app import App, Assessment, Domain, HealthCheck, Replica
from haloy.model.names import AppName, DeploymentId
from haloy.proxy.interface import DrainLimits, Leftover
from haloy.store.database import Database
from tests.fakes.engine import FakeEngine

#: The calls that change what runs.
CHANGES = frozenset({"create", "start", "stop", "remove", "rename", "tag", "untag"})
ONE, TWO, THREE = "01aaaaaaaa-one", "01aaaaaaaa-two", "01aaaaaaaa-three"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@define(eq=False)
class RecordedTraffic:
    """Traffic that remembers who was served, after every change.

    @ivar tables: the deployments with a replica in the table, change by change.
    @ivar leftover: what a drain of a container leaves, by container name.
    @ivar owners: domains that other apps have.
    """

    serving: dict[str, Replica] = field(factory=dict)
    apps: dict[str, App] = field(factory=dict)
    tables: list[tuple[str, ...]] = field(factory=list)
    calls: list[str] = field(factory=list)
    leftover: dict[str, Leftover] = field(factory=dict)
    owners: dict[str, str] = field(factory=dict)
    held: dict[str, Deferred[None]] = field(factory=dict)

    async def claim(self, app: AppName, domains: tuple[Domain, ...]) -> None:
        for domain in domains:
            owner = self.owners.get(domain.canonical)
            if owner is not None:
                raise Conflict(f"domain {domain.canonical} belongs to app {owner}")

    async def admit(
        self,
        app: App,
        replicas: tuple[Replica, ...],
        instead_of: tuple[Replica, ...] = (),
    ) -> None:
        self.calls.append("admit " + " ".join(one.name for one in replicas))
        self.apps[app.name] = app
        for one in instead_of:
            self.serving.pop(one.container_id, None)
        self.serving.update({one.container_id: one for one in replicas})
        self._changed()

    async def retire(self, replicas: tuple[Replica, ...]) -> None:
        self.calls.append("retire " + " ".join(one.name for one in replicas))
        for one in replicas:
            self.serving.pop(one.container_id, None)
        self._changed()

    async def drained(
        self, replicas: tuple[Replica, ...], limits: DrainLimits
    ) -> Leftover:
        left = [self.leftover.get(one.name, Leftover(0, 0)) for one in replicas]
        for one in replicas:
            if limits.requests_s > 0 and one.name in self.held:
                await self.held[one.name]
        return Leftover(
            sum(one.requests for one in left), sum(one.tunnels for one in left)
        )

    async def park(self, app: AppName, limit_s: float) -> None:
        self.calls.append(f"park {app}")

    async def unpark(self, app: AppName) -> None:
        self.calls.append(f"unpark {app}")

    async def forget(self, app: AppName) -> None:
        self.calls.append(f"forget {app}")
        for key in [key for key, one in self.serving.items() if one.app == app]:
            del self.serving[key]
        self._changed()

    def _changed(self) -> None:
        self.tables.append(tuple(sorted({one.deployment for one in self.versions()})))

    def versions(self) -> tuple[Replica, ...]:
        return tuple(self.serving.values())


@define(eq=False)
class ScriptedReadiness:
    """Everything is healthy at once, but what a test says otherwise.

    @ivar failing: the error for a container, by name.
    @ivar held: a container is not healthy before its Deferred fires, by name.
    """

    engine: FakeEngine
    failing: dict[str, Exception] = field(factory=dict)
    held: dict[str, Deferred[None]] = field(factory=dict)
    asked: list[str] = field(factory=list)

    async def until_healthy(
        self,
        container_id: str,
        check: HealthCheck,
        port: int,
        network: str,
        timeout_s: float,
    ) -> None:
        container = await self.engine.container(container_id)
        self.asked.append(container.name)
        if container.name in self.held:
            await self.held[container.name]
        if container.name in self.failing:
            raise self.failing[container.name]
        if container.state is not ContainerState.RUNNING:
            raise DeployFailed(f"{container.name} is not running", failure="exited")


@define(eq=False)
class Seam:
    """The engine as haloyd sees it, with faults put between.

    @ivar before: awaited before a change, by call and container name.
    @ivar after: raised after a change was carried out, by the same.
    @ivar crash_at: the change (from 1) in which haloyd is killed: no call returns.
    @ivar crash_done: whether Docker still carries that change out.
    """

    engine: FakeEngine
    crash_at: int = 0
    crash_done: bool = False
    before: dict[str, Callable[[], Awaitable[None]]] = field(factory=dict)
    after: dict[str, Exception] = field(factory=dict)
    changes: int = field(default=0, init=False)
    dead: bool = field(default=False, init=False)

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.engine, name)

        async def forward(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                await Deferred()
            if name not in CHANGES:
                return await call(*args, **kwargs)
            self.changes += 1
            what = f"{name} {await self._name(args[0])}"
            if what in self.before:
                await self.before.pop(what)()
            if self.changes == self.crash_at:
                self.dead = True
                if self.crash_done:
                    await call(*args, **kwargs)
                await Deferred()
            result = await call(*args, **kwargs)
            if what in self.after:
                raise self.after[what]
            return result

        return forward

    async def _name(self, subject: Any) -> str:
        if isinstance(subject, ContainerSpec):
            return subject.name
        try:
            return (await self.engine.container(subject)).name
        except NotFound:
            return str(subject)


@define(eq=False)
class FaultyDatabase(Database):
    """The real database; C{failing} are errors by the name of the work."""

    failing: dict[str, Exception] = field(factory=dict, init=False)
    dead: bool = field(default=False, init=False)

    async def run(self, work: Any, *args: Any, **kwargs: Any) -> Any:
        if self.dead:
            await Deferred()
        if work.__name__ in self.failing:
            raise self.failing[work.__name__]
        return await super().run(work, *args, **kwargs)


@define(eq=False)
class World:
    """One server: what runs on it, and one life of haloyd."""

    folder: Path
    reactor: Any
    engine: FakeEngine = field(factory=FakeEngine)
    traffic: RecordedTraffic = field(factory=RecordedTraffic)
    readiness: ScriptedReadiness = field(init=False)
    seam: Seam = field(init=False)
    clock: Clock = field(factory=Clock)
    now: datetime = NOW
    reported: list[tuple[App, ...]] = field(factory=list)
    assessments: dict[str, Assessment] = field(factory=dict)
    names: Any = None
    database: FaultyDatabase = field(init=False)
    service: DeployService = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.readiness = ScriptedReadiness(self.engine)
        self.seam = Seam(self.engine)

    async def begin(self) -> None:
        """Open the database and make the service, without starting it."""
        self.database = FaultyDatabase(
            self.folder / "db" / "haloy.db", self.reactor, lambda: NOW
        )
        await self.database.open()
        engine: Any = self.seam
        self.service = deploy_service(
            engine=engine,
            traffic=self.traffic,
            readiness=self.readiness,
            database=self.database,
            reactor=self.clock,
            now=lambda: self.now,
            policy=PolicySettings(),
            discovered=self.reported.append,
            assess=self.assessments.get,
            names=self.names,
        )

    async def deploy(
        self, identifier: str, app: str = "shop", **values: Any
    ) -> LogEntry:
        """Deploy and return the end marker."""
        await self.submit(identifier, app, **values)
        return await self.end_of(identifier)

    async def submit(self, identifier: str, app: str = "shop", **values: Any) -> None:
        await self.service.submit(request(identifier, app, **values))

    async def end_of(self, identifier: str) -> LogEntry:
        """Return the end marker of a deployment, and let what follows it happen."""
        lines: list[LogEntry] = []

        async def consume(line: LogEntry) -> None:
            lines.append(line)

        following = Deferred.fromCoroutine(self.service.follow(identifier, consume))
        await self.settled(lambda: following.called)
        await following
        return lines[-1]

    async def settled(self, reached: Callable[[], bool], limit_s: float = 5.0) -> None:
        """Return when C{reached}; time passes, the database answers from a thread."""
        for _ in range(int(limit_s / 0.002)):
            if reached():
                return
            self.clock.advance(0.05)
            await deferLater(self.reactor, 0.002)
        raise AssertionError("not reached")

    async def die(self) -> World:
        """Kill haloyd; return the server with a haloyd that is not started yet."""
        self.seam.dead = self.database.dead = True
        await self.database.close()
        after = World(self.folder, self.reactor, self.engine)
        await after.begin()
        return after

    async def rest(self) -> None:
        """Reconcile until nothing changes any more."""
        quiet = 0
        while quiet < 3:
            before = self.seam.changes
            self.clock.advance(400)
            await self.look()
            await deferLater(self.reactor, 0.01)
            quiet = quiet + 1 if before == self.seam.changes else 0

    async def look(self) -> None:
        """Reconcile once, repairs included."""
        await self.service.reconciler.look()
        while self.service.reconciler._repairing:
            await deferLater(self.reactor, 0)

    async def containers(self, app: str = "shop") -> list[Container]:
        return sorted(
            await self.engine.containers({"dev.haloy.appName": app}),
            key=lambda one: one.name,
        )

    async def versions(self, app: str = "shop") -> set[str]:
        """Return the deployments that containers exist of."""
        return {
            one.labels["dev.haloy.deployment-id"] for one in await self.containers(app)
        }

    async def running(self, app: str = "shop") -> list[str]:
        return [
            one.name
            for one in await self.containers(app)
            if one.state is ContainerState.RUNNING
        ]

    async def status(self, app: str = "shop") -> AppStatus:
        return await self.service.status(AppName(app))


@asynccontextmanager
async def world(folder: Path, reactor: Any) -> AsyncIterator[World]:
    """Give a server without apps, with C{shop:latest} as a local image."""
    made = World(folder, reactor)
    made.engine.have_image("shop:latest", image_id="sha256:one")
    await made.begin()
    try:
        yield made
    finally:
        if not made.seam.dead:  # who was killed does not stop
            await made.service.stop()
        await made.database.close()


async def until(reactor: Any, reached: Callable[[], bool]) -> None:
    """Return when C{reached}; the database answers from its own thread."""
    for _ in range(1000):
        if reached():
            return
        await deferLater(reactor, 0.002)
    raise AssertionError("not reached")


def request(identifier: str, app: str = "shop", **values: Any) -> DeployRequest:
    """Return a request for an image that is on the server."""
    image = values.pop(
        "image",
        ImageConfig(
            repository=app,
            tag="latest",
            pull_policy="never",
            history=History(strategy="local", count=3),
        ),
    )
    settings: dict[str, Any] = {
        "server": "localhost",
        "domains": (DomainEntry(f"{app}.example.com"),),
        "deployment_strategy": "rolling",
        "replicas": 1,
        "port": "8080",
    } | values
    target = Target(name=app, image=image, **settings)
    return DeployRequest(
        id=DeploymentId(identifier), target=target, stored={"name": app}
    )
