"""What people who run the daemon need of it: logs, metrics, signals, disks, a prompt.

Made by L{haloy.daemon.assemble} from the parts that do the work; nothing here is
needed to serve.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
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
from haloy.config.operations import LogSettings
from haloy.daemon.disk import Watermark
from haloy.daemon.layers import LayerShelf
from haloy.daemon.lifecycle import Part
from haloy.daemon.logs import LogRecord, ServerLog
from haloy.daemon.manhole import ManholeService
from haloy.daemon.metrics import DeployTally, Lag, Metrics, Reading
from haloy.daemon.paths import Directories
from haloy.daemon.reload import Reload
from haloy.daemon.routing import Routing
from haloy.daemon.settings import Settings
from haloy.deploy.pruning import Pruning
from haloy.deploy.service import DeployService
from haloy.engine.interface import Engine
from haloy.errors import HaloyError
from haloy.health.monitor import Monitor
from haloy.proxy.access_file import AccessFile, AccessSettings
from haloy.proxy.access_log import AccessRecord, Visit, redacted
from haloy.proxy.interface import Proxy
from haloy.store.database import Database
from haloy.systemd import Notifier, notifier


@define(eq=False, slots=False)
class Operations:
    """Everything of that, made once.

    @ivar namespace: what the manhole knows.
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
    _access: AccessFile | None = field(default=None, init=False)
    _root_dir: Path | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        """Make the parts."""
        file, reactor = self._settings.file, self._reactor
        self.notifier = notifier(reactor, os.environ)
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
            self._reopen,
            self.notifier,
        )
        self._access = self._access_file(file.log)

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

    async def finish(self) -> None:
        """Write what waits; called when nothing serves any more."""
        if self._access is not None:
            self._access.close()
        self.notifier.close()

    # --- requests ---------------------------------------------------------------------

    def wants_requests(self) -> bool:
        """Return whether anybody is told of requests: a file, or a reader."""
        return self._access is not None or self._server_log.followed

    def record_request(self, visit: Visit) -> None:
        """Write a request to the access log, and tell those who follow it."""
        if self._access is not None:
            self._access(visit)
        if self._server_log.followed:
            redact = self.reload.settings.file.log.access_redact
            record = redacted(visit.record(), redact)
            self._server_log.record(log_record(record, self._now()))

    def _access_file(self, log: LogSettings) -> AccessFile | None:
        if log.access == "off":
            return None
        path: Path | None = Path(log.access_file or self._chosen.access_log)
        if log.access_file == "-":
            path = None
        return AccessFile(self._reactor, path, _access_settings(log), self._now)

    def _reopen(self) -> None:
        if self._access is not None:
            self._access.reopen()

    def _apply(self, file: DaemonFile) -> None:
        """Put what can be put into force while the daemon runs."""
        self.watermark.settings = file.disk
        if self._access is None or file.log.access == "off":
            if self._access is not None:
                self._access.close()
            self._access = self._access_file(file.log)
        else:
            self._access.configure(_access_settings(file.log))
        self.monitor.configure(file.health_monitor)
        self.deployments.allow(file.policy)
        self.proxy.trust(file.proxy.trusted_proxies)

    # --- metrics ----------------------------------------------------------------------

    def metrics_settings(self) -> tuple[bool, bool]:
        """Return whether there are metrics, and whether loopback is enough."""
        settings = self.reload.settings.file.metrics
        return settings.enabled, settings.open_on_loopback

    async def _read(self) -> Reading:
        verdicts: Counter[tuple[str, str]] = Counter()
        for key, replica in self.routing.intents.admitted.items():
            assessment = self.monitor.assessment(key)
            verdict = "unknown" if assessment is None else assessment.verdict.value
            verdicts[str(replica.app), verdict] += 1
        return Reading(
            version=version("haloy"),
            traffic=await self.proxy.traffic(),
            verdicts=dict(verdicts),
            deploys=await self.tally.read(),
            phases_s=dict(self.deployments.phases_s),
            certificates=self.certificates.status(),
            lag_s=self.lag.last_s,
            lag_max_s=self.lag.take_worst(),
            disks=self.watermark.disks,
            log_followers=self._server_log.followers,
            access_lines_lost=0 if self._access is None else self._access.lost,
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


def _access_settings(log: LogSettings) -> AccessSettings:
    return AccessSettings(
        log.access,
        log.access_percent,
        frozenset(log.access_redact),
        log.access_max_size,
    )


def log_record(record: AccessRecord, at: datetime) -> LogRecord:
    """Return a request as a line of the server log (C{spec/api.md} 3.5)."""
    fields: Mapping[str, str] = {
        "method": record.method,
        "host": record.host,
        "path": record.target,
        "status": str(record.status),
        "duration_ms": f"{record.total_s * 1000:.0f}",
        "first_byte_ms": f"{record.head_s * 1000:.0f}",
        "bytes_in": str(record.bytes_in),
        "bytes_out": str(record.bytes_out),
        "outcome": record.outcome,
        "remote_addr": record.client,
        "app": record.app,
        "replica": record.upstream[:12],
        "request_id": record.request_id,
        "traceparent": record.traceparent,
        "tls": record.tls,
    }
    return LogRecord("INFO", "request", at, {k: v for k, v in fields.items() if v})
