"""What people who run the daemon need of it: logs, metrics, signals, disks, a prompt.

Made by L{haloy.daemon.assemble} from the parts that do the work; nothing here is
needed to serve.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from haloy.certs.interface import Certificates
from haloy.config.daemon_file import DaemonFile
from haloy.daemon.disk import Watermark
from haloy.daemon.layers import LayerShelf
from haloy.daemon.lifecycle import Part
from haloy.daemon.logs import ServerLog
from haloy.daemon.manhole import ManholeService
from haloy.daemon.metrics import DeployTally, Lag, Metrics, Reading
from haloy.daemon.paths import Directories
from haloy.daemon.reload import Reload
from haloy.daemon.requests import RequestLog
from haloy.daemon.routing import Routing
from haloy.daemon.settings import Settings
from haloy.deploy.pruning import Pruning
from haloy.deploy.service import DeployService
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.health.monitor import Monitor
from haloy.proxy.interface import Proxy
from haloy.store.database import Database
from haloy.systemd import Notifier, notifier


@define(eq=False, slots=False)
class Operations:
    """Everything of that, made once.

    @ivar namespace: what the manhole knows.
    @ivar requests: what becomes of requests.
    """

    _reactor: Any
    _pool: ThreadPool
    _chosen: Directories
    _settings: Settings
    _engine: Engine
    _database: Database
    _server_log: ServerLog
    _now: Callable[[], datetime]
    namespace: dict[str, Any] = field(factory=dict, init=False)
    notifier: Notifier = field(init=False)
    _root_dir: Path | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the parts."""
        file, reactor = self._settings.file, self._reactor
        self.notifier = notifier(reactor, os.environ)
        self.requests = RequestLog(
            reactor, self._chosen.access_log, file.log, self._server_log, self._now
        )
        self.lag = Lag(reactor)
        self.metrics = Metrics(self._read, self._in_thread)
        self.tally = DeployTally(self._database)
        self.layers = LayerShelf(
            reactor, self._pool, self._database, self._chosen.layers
        )
        self.watermark = Watermark(
            reactor,
            file.disk,
            self._places,
            self._apps,
            Pruning(self._engine, self._database),
            self.layers,
            self._now,
        )
        self.manhole = ManholeService(
            reactor,
            file.manhole,
            self._chosen.manhole_socket,
            self._chosen.manhole_key,
            self.namespace,
        )
        self.reload = Reload(
            reactor,
            self._chosen,
            self._settings,
            self._apply,
            self.requests.reopen,
            self.notifier,
        )

    def observe(
        self,
        proxy: Proxy,
        routing: Routing,
        monitor: Monitor,
        certificates: Certificates,
        deployments: DeployService,
    ) -> None:
        """Know whom to read, for metrics and for the manhole."""
        self.proxy, self.routing, self.monitor = proxy, routing, monitor
        self.certificates, self.deployments = certificates, deployments
        self.namespace.update(
            engine=self._engine,
            deployments=deployments,
            routes=routing,
            health=monitor,
            certs=certificates,
            proxy=proxy,
        )

    def parts(self) -> tuple[Part, ...]:
        """Return what to start when all that serves has been started."""
        return (
            Part("the disk watermark", self.watermark.start, self.watermark.stop),
            Part("the manhole", self.manhole.start, self.manhole.stop),
            Part("signals", self._begin, self._end),
        )

    async def _begin(self) -> None:
        self.lag.start()
        await self.reload.start()
        await self.notifier.start()

    async def _end(self) -> None:
        """Say that we stop; the first thing that is done then."""
        await self.notifier.stop()
        await self.reload.stop()
        self.lag.stop()

    async def begin(self) -> None:
        """Write requests; called before anything serves."""
        self.requests.start()

    async def finish(self) -> None:
        """Write what waits; called when nothing serves any more."""
        self.requests.close()
        self.notifier.close()

    # --- the configuration ------------------------------------------------------------

    def _apply(self, file: DaemonFile) -> None:
        """Put what can be put into force while the daemon runs."""
        self.watermark.settings = file.disk
        self.requests.configure(file.log)
        self.monitor.configure(file.health_monitor)
        self.deployments.allow(file.policy)
        self.proxy.trust(file.proxy.trusted_proxies)

    # --- metrics ----------------------------------------------------------------------

    def metrics_settings(self) -> tuple[bool, bool]:
        """Return whether there are metrics, and whether loopback is enough."""
        settings = self.reload.settings.file.metrics
        return settings.enabled, settings.open_on_loopback

    async def _read(self) -> Reading:
        traffic = await self.proxy.traffic()
        verdicts: Counter[tuple[str, str]] = Counter()
        for key, replica in self.routing.intents.admitted.items():
            assessment = self.monitor.assessment(key)
            verdict = "unknown" if assessment is None else assessment.verdict.value
            verdicts[str(replica.app), verdict] += 1
        return Reading(
            version=version("haloy"),
            traffic=traffic,
            verdicts=dict(verdicts),
            deploys=await self.tally.read(),
            phases_s=dict(self.deployments.phases_s),
            certificates=self.certificates.status(),
            lag_s=self.lag.last_s,
            lag_max_s=self.lag.take_worst(),
            disks=self.watermark.disks,
            log_followers=self._server_log.followers,
            access_lines_lost=self.requests.lost + traffic.lines_lost,
        )

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        done: Deferred[bytes] = deferToThreadPool(self._reactor, self._pool, work)
        return await done

    # --- disks ------------------------------------------------------------------------

    async def _places(self) -> list[Path]:
        """Return our data directory and Docker's, if that is another disk."""
        if self._root_dir is None:
            try:
                self._root_dir = Path((await self._engine.info()).root_dir or "/")
            except HaloyError:
                return [self._chosen.data]
        return [self._chosen.data, *_elsewhere(self._chosen.data, self._root_dir)]

    async def _apps(self) -> list[str]:
        return [str(app) for app in self.routing.intents.apps]


def _elsewhere(data: Path, root_dir: Path) -> list[Path]:
    """Return Docker's folder unless it is on the same disk, or cannot be seen."""
    try:
        same = root_dir.stat().st_dev == data.stat().st_dev
    except OSError:
        return []
    return [] if same else [root_dir]
