"""Configuration and reactor -> the daemon. The only place that names every part.

Parts are made here, wired by plain constructor arguments, and started in the order
of the list in L{assemble}: what is needed stands before what needs it.
"""

from __future__ import annotations

import os
import random
import secrets
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from attrs import define, field
from twisted.logger import ILogObserver, Logger
from twisted.python.threadpool import ThreadPool

from haloy.api.events import EventFeed
from haloy.api.gatekeeper import Gatekeeper
from haloy.api.metrics import MetricsRoute
from haloy.api.server import Api
from haloy.api.service import ApiListener
from haloy.api.spool import Spools
from haloy.certs.service import certificate_service
from haloy.daemon.admission import Admission
from haloy.daemon.condition import Condition
from haloy.daemon.dataplane import PROBE, choose_plane
from haloy.daemon.events import EventStream
from haloy.daemon.exclusive import ExclusiveUse
from haloy.daemon.housekeeping import Housekeeping
from haloy.daemon.intents import Intents
from haloy.daemon.lifecycle import Daemon, Part
from haloy.daemon.logs import ServerLog
from haloy.daemon.news import News
from haloy.daemon.operations import Operations
from haloy.daemon.paths import Directories
from haloy.daemon.recovery import Recovered, still_running
from haloy.daemon.routing import Routing
from haloy.daemon.settings import Settings
from haloy.daemon.snapshot import SnapshotWriter, read_snapshot
from haloy.deploy.pruning import Pruning
from haloy.deploy.pulling import DockerDisk, disk_at
from haloy.deploy.readiness import ReadinessCheck
from haloy.deploy.service import deploy_service
from haloy.deploy.space import Space
from haloy.deploy.uploads import ImageUploads
from haloy.engine.docker import DockerEngine
from haloy.engine.interface import Credentials
from haloy.errors import HaloyError
from haloy.health.monitor import Monitor
from haloy.model.app import UnixAddress
from haloy.model.names import DomainName
from haloy.observers import choose_observer
from haloy.store.database import Database
from haloy.store.instance import instance_name
from haloy.store.registries import RegistryFile


def assemble(
    reactor: Any,
    chosen: Directories,
    settings: Settings,
    token_hash: bytes,
    debug: bool,
) -> Daemon:
    """Return the daemon, ready to be started by twistd."""
    parts = _Parts(reactor, chosen, settings, token_hash, debug)
    return parts.daemon()


def _now() -> datetime:
    return datetime.now(UTC)


@define(eq=False, slots=False)
class _Parts:
    """Every part, made once."""

    reactor: Any
    chosen: Directories
    settings: Settings
    token_hash: bytes
    debug: bool
    log: Logger = field(factory=Logger, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the parts from the bottom up."""
        self.file = self.settings.file
        self.make_ground()
        self.make_traffic()
        self.make_deploying()
        self.make_control()

    def make_ground(self) -> None:
        """Make what everything stands on: threads, Docker, database, logs."""
        reactor, chosen = self.reactor, self.chosen
        self.server_log = ServerLog(self.debug)
        self.pool = ThreadPool(0, 4, "haloyd")
        self.engine = DockerEngine(reactor)
        self.database = Database(chosen.database, reactor, _now)
        self.happened = EventFeed(self.database, reactor, _now)
        self.operations = Operations(
            reactor,
            self.pool,
            chosen,
            self.settings,
            self.engine,
            self.database,
            self.server_log,
            _now,
        )

    def make_traffic(self) -> None:
        """Make what serves: proxy, routes, certificates, health."""
        reactor, chosen, file = self.reactor, self.chosen, self.file
        self.plane = choose_plane(
            reactor, file.proxy, file.limits, chosen.api_socket, self.operations
        )
        self.proxy = self.plane.proxy
        self.news = News(
            self.happened, SnapshotWriter(reactor, self.pool, chosen.snapshot)
        )
        api_domain = DomainName(file.api.domain) if file.api.domain else None
        self.routing = Routing(
            self.proxy,
            UnixAddress(str(self.plane.api_socket)),
            Intents(api_domain),
            changed=self.news.routes_changed,
            kept=self.news.routes_kept,
        )
        self.certificates = certificate_service(
            reactor=reactor,
            folder=chosen.certificates,
            acme=file.acme,
            dns=file.dns,
            presenter=self.proxy,
            now=_now,
            random=random.SystemRandom(),
        )
        self.monitor = Monitor(
            reactor, file.health_monitor, _now, self.news.judged, PROBE
        )
        self.news.connect(self.routing, self.monitor, self.certificates)
        self.proxy.on_upstream_failure(lambda one: self.monitor.suspect(one.key))

    def make_deploying(self) -> None:
        """Make what changes what runs, and what follows it."""
        reactor = self.reactor
        readiness = ReadinessCheck(self.engine, reactor, _now, PROBE)
        self.admission = Admission(self.routing, readiness, reactor, self.news.watch)
        self.registries = RegistryFile(self.chosen.registries)
        self.instance = instance_name(
            self.chosen.instance, self.chosen.instance_copy, secrets.token_hex(8)
        )
        self.deployments = deploy_service(
            engine=self.engine,
            traffic=self.routing,
            readiness=readiness,
            database=self.database,
            reactor=reactor,
            now=_now,
            policy=self.file.policy,
            discovered=self.admission.discovered,
            assess=self.monitor.assessment,
            stored_credentials=self.stored_credentials,
            instance=self.instance,
            names=self.certificates.advice,
            hung_after_s=lambda: self.monitor.settings.replace_after_s,
            disk=DockerDisk(
                disk_at, lambda: self.operations.watermark.settings.warn_percent
            ),
        )
        self.events = EventStream(
            self.engine, reactor, self.deployments, self.routing.died
        )

    def make_control(self) -> None:
        """Make what people ask, and what looks after the server."""
        reactor = self.reactor
        self.gatekeeper = Gatekeeper(self.database, reactor, _now, self.token_hash)
        self.condition = Condition(
            self.engine,
            self.proxy,
            self.database,
            lambda: self.operations.reload.settings.problem,
        )
        api = self.make_api()
        self.end_commands = api.end_commands
        self.api = ApiListener(
            reactor,
            api.resource(),
            self.file.api.listen,
            self.plane.api_socket,
            api.gate,
            self.plane.api_mode,
            self.file.api.domain or "",
        )
        self.housekeeping = Housekeeping(
            reactor,
            self.pool,
            self.plane.contexts,
            self.chosen.temporary,
            _now,
            self.operations.layers,
        )
        self.operations.observe(
            self.proxy, self.routing, self.monitor, self.certificates, self.deployments
        )

    def make_api(self) -> Api:
        """Return the API."""
        space = Space()
        return Api(
            self.deployments,
            self.engine,
            self.reactor,
            version("haloy"),
            self.gatekeeper,
            self.condition.ready,
            lambda: self.proxy.stats().generation,
            self.proxy.programs,
            self.certificates,
            ImageUploads(
                self.engine,
                self.database,
                self.reactor,
                self.pool,
                _now,
                space,
                self.chosen.layers,
                self.chosen.temporary,
            ),
            Pruning(self.engine, self.database),
            Spools(space, self.chosen.temporary),
            self.registries,
            self.server_log,
            self.happened,
            MetricsRoute(
                self.gatekeeper,
                self.operations.metrics.text,
                self.operations.metrics_settings,
            ),
        )

    # --- the daemon ------------------------------------------------------------------

    def daemon(self) -> Daemon:
        """Return the parts in the order in which they start."""
        use = ExclusiveUse(self.chosen.lock)
        parts = (
            Part("in the data directory", use.take, use.give_back),
            Part("the thread pool", self.start_pool, self.stop_pool),
            Part("the access log", self.operations.begin, self.operations.finish),
            Part("the database", self.database.open, self.database.close),
            Part("what is counted", self.operations.tally.start, _nothing),
            Part("events", _nothing, self.news.stop),
            Part("Docker", self.look_for_docker, self.engine.close),
            Part("the routes", self.restore_routes, self.routing.stop),
            Part("the proxy", self.start_proxy, self.stop_proxy),
            Part("housekeeping", self.housekeeping.start, self.housekeeping.stop),
            Part("certificates", self.certificates.start, self.certificates.stop),
            Part("the health monitor", self.start_monitor, self.monitor.stopService),
            Part("admission", _nothing, self.admission.stop),
            Part("deployments", self.deployments.start, self.deployments.stop),
            Part("Docker's events", self.start_events, self.events.stopService),
            Part("tokens", self.gatekeeper.load, _nothing),
            Part("the API", self.api.start, self.api.stop),
            Part("commands in containers", _nothing, self.end_commands),
            *self.operations.parts(),
        )
        observer: ILogObserver = choose_observer(
            self.file.log.format, sys.__stdout__ or sys.stdout, self.debug, os.environ
        )
        return Daemon(self.reactor, parts, observer, self.server_log, self.announce)

    async def start_pool(self) -> None:
        """Start the threads for files and names."""
        self.pool.start()

    async def stop_pool(self) -> None:
        """End them."""
        self.pool.stop()

    async def look_for_docker(self) -> None:
        """Say when Docker is away; traffic goes on by the snapshot all the same."""
        if self.settings.problem:
            self.log.error(
                "{problem}; running by the last good configuration",
                problem=self.settings.problem,
            )
        try:
            info = await self.engine.info()
            self.log.info("Docker {version}", version=info.version)
        except HaloyError as problem:
            self.log.error("{problem}; serving what was served", problem=str(problem))

    async def restore_routes(self) -> None:
        """Serve what was served, as far as it still runs at the same address."""
        kept = read_snapshot(self.chosen.snapshot, _now(), self.log)
        start = Recovered(Intents(self.routing.intents.api_domain), whole=False)
        if kept is not None:
            start = await still_running(
                kept, self.engine, start.intents.api_domain, self.instance
            )
        if self.plane.split:
            # It serves what it was told before, and takes orders when it is there.
            self.proxy.startService()
            if not start.whole:
                self.routing.hold()
        self.routing.restore(start.intents)
        if not self.plane.split:
            await self.routing.published()

    async def start_proxy(self) -> None:
        """Take connections."""
        if not self.proxy.running:
            self.proxy.startService()

    async def stop_proxy(self) -> None:
        """Let requests end."""
        await self.proxy.stopService()

    async def start_monitor(self) -> None:
        """Begin the health rounds."""
        self.monitor.startService()

    async def start_events(self) -> None:
        """Follow Docker's events."""
        self.events.startService()

    def announce(self) -> None:
        """Say that everything is of use."""
        where = "http {http}, https {https}"
        if self.plane.split:
            where = "http and https by haloy-proxy"
        self.log.info(
            f"haloyd {{version}} is ready: {where}, API {{api}}",
            version=version("haloy"),
            http=self.proxy.http_port,
            https=self.proxy.https_port,
            api=self.api.port,
        )
        self.operations.notifier.ready(
            self.settings.problem or f"serving, API on port {self.api.port}"
        )

    def stored_credentials(self, server: str) -> Credentials | None:
        """Return the daemon's own login at a registry."""
        found = self.registries.logins().get(server)
        return None if found is None else Credentials(server, *found)


async def _nothing() -> None:
    """Start nothing."""
