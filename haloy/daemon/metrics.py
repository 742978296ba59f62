"""What C{/metrics} tells, as OpenMetrics: readings of the parts, made when asked.

Nothing is kept here but the lag of the reactor. Label values are apps, replicas and
names of certificates, all of them bounded elsewhere; a client chooses none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from attrs import define, field, frozen
from prometheus_client import ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from haloy.certs.interface import CertificateStatus
from haloy.deploy.phases import AppsToldApart
from haloy.proxy.metrics import (
    BUCKETS_S,
    GONE,
    NOBODY,
    Counts,
    TrafficReading,
)
from haloy.store.database import Database
from haloy.store.deployments import SERVED, ended_behind, states_in_progress
from haloy.store.logs import last_line

LAG_EVERY_S: Final = 0.5

_CLASSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
_BOUNDS: Final = (*(str(bound) for bound in BUCKETS_S), "+Inf")


@frozen
class DeployReading:
    """How many deployments are in each state, how many ended how, how long they took.

    C{ended} is by app and state; C{seconds} are sums of the same.
    """

    states: dict[str, int]
    ended: dict[tuple[str, str], int]
    seconds: dict[tuple[str, str], float]


@frozen
class Reading:
    """All that is told in one answer."""

    version: str
    traffic: TrafficReading
    verdicts: dict[tuple[str, str], int]
    deploys: DeployReading
    phases_s: Mapping[tuple[str, str], float]
    certificates: tuple[CertificateStatus, ...]
    lag_s: float
    lag_max_s: float
    disks: dict[str, tuple[int, int]]
    log_followers: int = 0
    access_lines_lost: int = 0


@define(eq=False)
class DeployTally:
    """Adds up deployments that have ended since the daemon began.

    Rows of the database come and go with their app's history; a counter must not
    go back. What is new is told by the number of its end, not by the time of it: a
    clock that is set back makes no deployment an old one.
    """

    _database: Database
    _seen: int = field(default=0, init=False)
    _ended: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    _seconds: Counter[tuple[str, str]] = field(factory=Counter, init=False)
    _apps: AppsToldApart = field(factory=AppsToldApart, init=False)

    async def start(self) -> None:
        """Count from now on."""
        self._seen = await self._database.run(last_line)

    async def read(self) -> DeployReading:
        """Return the sums up to now."""
        states = await self._database.run(states_in_progress)
        for row in await self._database.run(ended_behind, self._seen):
            seq, app, state, begun, ended = row
            if seq <= self._seen:
                continue  # who asked at the same time has counted it
            self._seen = seq
            label = self._apps.label(app)
            key = (label, "succeeded" if state in SERVED else state)
            took = datetime.fromisoformat(ended) - datetime.fromisoformat(begun)
            self._ended[key] += 1
            self._seconds[key] += max(0, round(took.total_seconds() * 1000))
        return DeployReading(
            states,
            dict(self._ended),
            {key: millis / 1000 for key, millis in self._seconds.items()},
        )


@define(eq=False)
class Lag:
    """How late the reactor is, measured by asking it to be on time."""

    _reactor: Any
    last_s: float = field(default=0.0, init=False)
    _worst_s: float = field(default=0.0, init=False)
    _due_s: float = field(default=0.0, init=False)
    _log: Logger = field(factory=Logger, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Measure from now on."""
        self._due_s = self._reactor.seconds() + LAG_EVERY_S
        self._loop = LoopingCall(self._measure)
        self._loop.clock = self._reactor
        self._loop.start(LAG_EVERY_S, now=False).addErrback(
            lambda failure: self._log.failure("measuring the lag failed", failure)
        )

    def stop(self) -> None:
        """Measure no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()

    def take_worst(self) -> float:
        """Return the worst lag since the last call."""
        worst_s, self._worst_s = max(self._worst_s, self.last_s), 0.0
        return worst_s

    def _measure(self) -> None:
        now_s = self._reactor.seconds()
        self.last_s = max(0.0, now_s - self._due_s)
        self._worst_s = max(self._worst_s, self.last_s)
        self._due_s = now_s + LAG_EVERY_S


@define(eq=False)
class Metrics:
    """Gives the answer to a scrape."""

    _read: Callable[[], Awaitable[Reading]]
    _in_thread: Callable[[Callable[[], bytes]], Awaitable[bytes]]
    _process: ProcessCollector = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Know the process: memory, descriptors, processor time."""
        self._process = ProcessCollector(registry=None)

    async def text(self) -> bytes:
        """Return the answer, written in a thread: requests do not wait for it."""
        reading = await self._read()
        return await self._in_thread(
            lambda: render((*families(reading), *self._process.collect()))
        )


def render(metrics: Iterable[Metric]) -> bytes:
    """Return C{metrics} as OpenMetrics 1.0.

    The client library's own writer takes six times as long for a server with
    hundreds of apps; a test reads this one's text with the library's parser.
    """
    lines: list[str] = []
    for metric in metrics:
        name = metric.name
        lines.append(f"# HELP {name} {_escaped(metric.documentation)}")
        lines.append(f"# TYPE {name} {metric.type}")
        for sample in metric.samples:
            labels = ",".join(
                f'{key}="{_escaped(value)}"' for key, value in sample.labels.items()
            )
            shown = f"{{{labels}}}" if labels else ""
            lines.append(f"{sample.name}{shown} {sample.value}")
    lines.append("# EOF\n")
    return "\n".join(lines).encode()


def _escaped(text: str) -> str:
    if "\\" in text or '"' in text or "\n" in text:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return text


def families(reading: Reading) -> Iterator[Metric]:
    """Return everything that is told of C{reading}."""
    build = GaugeMetricFamily(
        "haloy_build", "The version that runs.", labels=("version",)
    )
    build.add_metric((reading.version,), 1)
    yield build
    yield from _requests(reading.traffic)
    yield from _latency(reading.traffic)
    yield from _connections(reading.traffic)
    yield from _control(reading)
    yield from _certificates(reading.certificates)
    yield from _host(reading)


def _requests(traffic: TrafficReading) -> Iterator[Metric]:
    who = ("app", "replica")
    requests = CounterMetricFamily(
        "haloy_requests",
        "Requests answered, by the class of their status.",
        labels=(*who, "status"),
    )
    broken = CounterMetricFamily(
        "haloy_requests_broken",
        "Answers that could not be completed (cut), clients that left before (gone).",
        labels=(*who, "how"),
    )
    received = CounterMetricFamily(
        "haloy_received_bytes", "Bytes of request bodies and tunnels.", labels=who
    )
    sent = CounterMetricFamily(
        "haloy_sent_bytes", "Bytes of answers' bodies and tunnels.", labels=who
    )
    for (app, upstream), counts in traffic.counts.items():
        if upstream == GONE:
            continue
        labels = (app, upstream[:12])
        for kind, count in zip(_CLASSES, counts.statuses, strict=True):
            if count:
                requests.add_metric((*labels, kind), count)
        for how, count in (("cut", counts.cut), ("gone", counts.gone)):
            if count:
                broken.add_metric((*labels, how), count)
        received.add_metric(labels, counts.bytes_in)
        sent.add_metric(labels, counts.bytes_out)
    yield from (requests, broken, received, sent)


def _latency(traffic: TrafficReading) -> Iterator[Metric]:
    """By app alone: replicas come and go, and an app's histogram must not fall."""
    apps: dict[str, Counts] = {}
    for (app, _), counts in traffic.counts.items():
        if app != NOBODY:
            apps.setdefault(app, Counts()).add(counts)
    head = HistogramMetricFamily(
        "haloy_answer_seconds",
        "From a request's head to its answer's head.",
        labels=("app",),
    )
    whole = CounterMetricFamily(
        "haloy_request_seconds",
        "From a request's head to its answer's end, summed.",
        labels=("app",),
    )
    for app, counts in apps.items():
        summed = 0
        buckets = []
        for bound, count in zip(_BOUNDS, counts.buckets, strict=True):
            summed += count
            buckets.append((bound, float(summed)))
        head.add_metric((app,), buckets, sum_value=counts.head_s)
        whole.add_metric((app,), counts.total_s)
    yield from (head, whole)


def _connections(traffic: TrafficReading) -> Iterator[Metric]:
    what = (
        ("haloy_requests_active", "Requests under way.", "requests"),
        ("haloy_tunnels_active", "Tunnels that stand.", "tunnels"),
        ("haloy_pool_idle", "Idle connections to a replica.", "idle"),
        ("haloy_pool_waiting", "Requests that wait for a connection.", "waiting"),
    )
    for name, told, attribute in what:
        gauge = GaugeMetricFamily(name, told, labels=("app", "replica"))
        for one in traffic.upstreams:
            value = getattr(one, attribute)
            gauge.add_metric((one.app, one.upstream[:12]), value)
        yield gauge
    yield GaugeMetricFamily(
        "haloy_connections", "Clients that are connected.", value=traffic.connections
    )
    yield GaugeMetricFamily(
        "haloy_proxy_workers", "Processes that serve.", value=traffic.workers
    )
    shakes = CounterMetricFamily(
        "haloy_tls_handshakes", "TLS handshakes, by how they ended.", labels=("how",)
    )
    shakes.add_metric(("full",), traffic.handshakes_full)
    shakes.add_metric(("resumed",), traffic.handshakes_resumed)
    shakes.add_metric(("failed",), traffic.handshakes_failed)
    yield shakes


def _control(reading: Reading) -> Iterator[Metric]:
    replicas = GaugeMetricFamily(
        "haloy_replicas",
        "Replicas by what is thought of them.",
        labels=("app", "verdict"),
    )
    for (app, verdict), count in reading.verdicts.items():
        replicas.add_metric((app, verdict), count)
    yield replicas
    deploys = reading.deploys
    states = GaugeMetricFamily(
        "haloy_deployments_in_progress",
        "Deployments that wait or run, by state.",
        labels=("state",),
    )
    for state, count in deploys.states.items():
        states.add_metric((state,), count)
    yield states
    ended = CounterMetricFamily(
        "haloy_deployments", "Deployments that have ended.", labels=("app", "state")
    )
    seconds = CounterMetricFamily(
        "haloy_deployment_seconds",
        "From asking for a deployment to its end, summed.",
        labels=("app", "state"),
    )
    for key, count in deploys.ended.items():
        ended.add_metric(key, count)
        seconds.add_metric(key, deploys.seconds.get(key, 0.0))
    phases = CounterMetricFamily(
        "haloy_deployment_phase_seconds",
        "What deployments have spent in each of their phases, summed.",
        labels=("app", "phase"),
    )
    for key, spent_s in reading.phases_s.items():
        phases.add_metric(key, spent_s)
    yield from (ended, seconds, phases)


def _certificates(statuses: Iterable[CertificateStatus]) -> Iterator[Metric]:
    ends = GaugeMetricFamily(
        "haloy_certificate_not_after_seconds",
        "When a certificate ends (Unix time).",
        labels=("name",),
    )
    failures = GaugeMetricFamily(
        "haloy_certificate_failures",
        "Orders that failed in a row.",
        labels=("name",),
    )
    held = GaugeMetricFamily(
        "haloy_certificate_held", "Whether a certificate is held.", labels=("name",)
    )
    for one in statuses:
        if one.not_after is not None:
            ends.add_metric((one.name,), one.not_after.timestamp())
        failures.add_metric((one.name,), one.failures)
        held.add_metric((one.name,), int(one.not_after is not None))
    yield from (ends, failures, held)


def _host(reading: Reading) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "haloy_reactor_lag_seconds",
        "How late the event loop was last.",
        value=reading.lag_s,
    )
    yield GaugeMetricFamily(
        "haloy_reactor_lag_max_seconds",
        "How late the event loop was at worst since the last scrape.",
        value=reading.lag_max_s,
    )
    free = GaugeMetricFamily(
        "haloy_disk_free_bytes", "Free on a file system of ours.", labels=("path",)
    )
    size = GaugeMetricFamily(
        "haloy_disk_size_bytes", "Size of a file system of ours.", labels=("path",)
    )
    for path, (free_bytes, size_bytes) in reading.disks.items():
        free.add_metric((path,), free_bytes)
        size.add_metric((path,), size_bytes)
    yield from (free, size)
    yield GaugeMetricFamily(
        "haloy_log_followers", "Who follows the log.", value=reading.log_followers
    )
    yield CounterMetricFamily(
        "haloy_access_log_lost",
        "Lines of the access log that could not be written.",
        value=reading.access_lines_lost,
    )
