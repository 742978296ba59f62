"""What the data path counts: plain objects, added to once a request.

Counting is a sink of visits, so that it costs nothing but the additions.
A reading is made of plain values: several workers' readings add up, whether they
came from this process or over a socket.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol

from attrs import frozen

from haloy.proxy.access_log import KINDS_LIMIT, Kind, Sink, Visit

#: Upper bounds of the histogram's buckets, in seconds; above the last is infinity.
#: Of any length, as is said: compiled, others are made anew at each use.
BUCKETS_S: Final[tuple[float, ...]] = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25),
    *(0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)

#: So many pairs of app and replica are told apart; what is more counts as OTHER.
SERIES_LIMIT: Final = 4096
OTHER: Final = "other"

#: All replicas of an app that are no longer there.
GONE: Final = "gone"

#: What ends in neither an app nor a replica: redirects, challenges, refusals.
NOBODY: Final = "-"


class Handshakes:
    """TLS handshakes of one worker."""

    __slots__ = ("failed", "full", "resumed")

    def __init__(self) -> None:
        self.full = 0
        self.resumed = 0
        self.failed = 0

    def finished(self, *, resumed: bool) -> None:
        """Count one that has led to a connection."""
        if resumed:
            self.resumed += 1
        else:
            self.full += 1


class Counts:
    """What one replica has answered.

    @ivar statuses: how many by the first digit of the status, 0: none.
    @ivar buckets: how many by the time to the answer's head, not cumulated.
    """

    __slots__ = (
        "buckets",
        "bytes_in",
        "bytes_out",
        "cut",
        "gone",
        "head_s",
        "statuses",
        "total_s",
    )

    def __init__(self) -> None:
        self.statuses = [0] * 6
        self.buckets = [0] * (len(BUCKETS_S) + 1)
        self.bytes_in = 0
        self.bytes_out = 0
        self.cut = 0
        self.gone = 0
        self.head_s = 0.0
        self.total_s = 0.0

    def add(self, other: Counts) -> None:
        """Add what another one has counted."""
        for index, count in enumerate(other.statuses):
            self.statuses[index] += count
        for index, count in enumerate(other.buckets):
            self.buckets[index] += count
        self.bytes_in += other.bytes_in
        self.bytes_out += other.bytes_out
        self.cut += other.cut
        self.gone += other.gone
        self.head_s += other.head_s
        self.total_s += other.total_s

    def values(self) -> list[Any]:
        """Return them in a form that JSON can carry."""
        return [
            self.statuses,
            self.buckets,
            self.bytes_in,
            self.bytes_out,
            self.cut,
            self.gone,
            self.head_s,
            self.total_s,
        ]

    @classmethod
    def of(cls, values: list[Any]) -> Counts:
        """Return what L{values} has told."""
        found = cls()
        found.statuses = list(values[0])
        found.buckets = list(values[1])
        found.bytes_in, found.bytes_out, found.cut, found.gone = values[2:6]
        found.head_s, found.total_s = values[6:8]
        return found


class RequestCounter:
    """A sink of visits that counts them by app and replica."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Counts] = {}
        # The same by what visits have in common, until replicas are forgotten.
        self._by_kind: dict[Kind, Counts] = {}

    def note(self, visit: Visit) -> None:
        """Count one request."""
        kind, _, _, bytes_out, head_s, total_s, _ = visit
        counts = self._by_kind.get(kind)
        if counts is None:
            counts = self._counts(kind)
        bucket = 0
        for bound_s in BUCKETS_S:
            if head_s <= bound_s:
                break
            bucket += 1
        status = kind.status
        counts.statuses[status // 100 if status < 600 else 0] += 1
        counts.buckets[bucket] += 1
        counts.bytes_in += kind.bytes_in
        counts.bytes_out += bytes_out
        counts.head_s += head_s
        counts.total_s += total_s
        if kind.outcome == "cut":
            counts.cut += 1
        elif kind.outcome == "gone":
            counts.gone += 1

    def _counts(self, kind: Kind) -> Counts:
        key = (kind.app or NOBODY, kind.upstream or NOBODY)
        if key not in self._known and len(self._known) >= SERIES_LIMIT:
            key = (OTHER, OTHER)
        counts = self._known.setdefault(key, Counts())
        if len(self._by_kind) >= KINDS_LIMIT:
            self._by_kind.clear()
        self._by_kind[kind] = counts
        return counts

    def forget(self, alive: Collection[str]) -> None:
        """Add up what replicas that are no longer there have counted, app by app.

        So an app's sums never go back, and what is kept stays small. Called now and
        then: a reading in between still tells the replicas apart.
        """
        for app, upstream in [*self._known]:
            if upstream in alive or upstream in (NOBODY, OTHER, GONE):
                continue
            gone = self._known.pop((app, upstream))
            self._known.setdefault((app, GONE), Counts()).add(gone)
            self._by_kind.clear()

    def reading(self) -> dict[tuple[str, str], Counts]:
        """Return what has been counted so far."""
        return dict(self._known)


@frozen
class UpstreamReading:
    """What is under way at one replica."""

    app: str
    upstream: str
    requests: int = 0
    tunnels: int = 0
    idle: int = 0
    waiting: int = 0


class Busy(Protocol):
    """What is read of a pool."""

    outstanding: int
    tunnels: int

    @property
    def idle_count(self) -> int:
        """How many connections nobody uses."""

    @property
    def waiting_count(self) -> int:
        """How many requests wait for one."""


def upstream_readings(
    apps: Mapping[str, str], pools: Mapping[str, Busy]
) -> tuple[UpstreamReading, ...]:
    """Return what is under way, by the app of each replica."""
    return tuple(
        UpstreamReading(
            apps.get(key, NOBODY),
            key,
            pool.outstanding,
            pool.tunnels,
            pool.idle_count,
            pool.waiting_count,
        )
        for key, pool in pools.items()
    )


@frozen
class TrafficReading:
    """What one worker, or all of them, tell of the traffic.

    C{lines_lost}: lines of the access log that workers of the split form could not
    write.
    """

    counts: dict[tuple[str, str], Counts]
    upstreams: tuple[UpstreamReading, ...] = ()
    connections: int = 0
    handshakes_full: int = 0
    handshakes_resumed: int = 0
    handshakes_failed: int = 0
    workers: int = 1
    lines_lost: int = 0

    def to_values(self) -> dict[str, Any]:
        """Return it in a form that JSON can carry."""
        return {
            "counts": [
                [app, upstream, counts.values()]
                for (app, upstream), counts in self.counts.items()
            ],
            "upstreams": [
                [
                    one.app,
                    one.upstream,
                    one.requests,
                    one.tunnels,
                    one.idle,
                    one.waiting,
                ]
                for one in self.upstreams
            ],
            "connections": self.connections,
            "handshakes": [
                self.handshakes_full,
                self.handshakes_resumed,
                self.handshakes_failed,
            ],
            "lines_lost": self.lines_lost,
        }


def from_values(values: dict[str, Any]) -> TrafficReading:
    """Return the reading of which L{TrafficReading.to_values} told."""
    full, resumed, failed = values["handshakes"]
    return TrafficReading(
        {
            (app, upstream): Counts.of(counts)
            for app, upstream, counts in values["counts"]
        },
        tuple(UpstreamReading(*one) for one in values["upstreams"]),
        values["connections"],
        full,
        resumed,
        failed,
        lines_lost=values["lines_lost"],
    )


def total(readings: Iterable[TrafficReading]) -> TrafficReading:
    """Return the sum of what several workers tell."""
    counts: dict[tuple[str, str], Counts] = {}
    upstreams: dict[tuple[str, str], list[int]] = {}
    sums = [0] * 6
    for one in readings:
        for key, counted in one.counts.items():
            counts.setdefault(key, Counts()).add(counted)
        for busy in one.upstreams:
            into = upstreams.setdefault((busy.app, busy.upstream), [0] * 4)
            for index, value in enumerate(
                (busy.requests, busy.tunnels, busy.idle, busy.waiting)
            ):
                into[index] += value
        for index, value in enumerate(
            (
                one.connections,
                one.handshakes_full,
                one.handshakes_resumed,
                one.handshakes_failed,
                one.workers,
                one.lines_lost,
            )
        ):
            sums[index] += value
    return TrafficReading(
        counts,
        tuple(UpstreamReading(*key, *values) for key, values in upstreams.items()),
        *sums,
    )


class Counted:
    """A sink that counts and then passes on."""

    __slots__ = ("_count", "_pass_on")

    def __init__(self, counter: RequestCounter, sink: Sink) -> None:
        self._count = counter
        self._pass_on = sink

    def note(self, visit: Visit) -> None:
        """Take a visit."""
        self._count.note(visit)
        self._pass_on(visit)


def counted(counter: RequestCounter, sink: Sink | None) -> Sink:
    """Return a sink that counts and then passes on to C{sink}."""
    return counter.note if sink is None else Counted(counter, sink).note
