"""One record for each request; whoever runs the proxy decides where it goes.

The data path notes a C{Visit}: what it shares with others is a L{Kind} that is made
once, so that whoever counts visits or writes them as lines can prepare its part for
a kind and has only what differs to do for each. L{AccessRecord} is the same in one
piece, for whoever sends or shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from haloy.proxy.exchange import Exchange
from haloy.proxy.head import RequestHead

# What a client can make long is cut in the log (spec P21).
TARGET_LIMIT: Final = 1024
USER_AGENT_LIMIT: Final = 256
KINDS_LIMIT: Final = 512


class AccessRecord(NamedTuple):
    """What a request was and what became of it.

    C{outcome}: C{done}; C{cut}: the answer could not be completed; C{gone}: the
    client left before it was complete. C{upstream} is the key of the replica,
    C{""} when the answer is our own. Durations in seconds: until the answer's
    head, and until its end. Bytes are those of bodies; of both ways of a tunnel.
    C{tls} is the version agreed on, C{""} without TLS; C{traceparent} what the app
    was told (W3C Trace Context).
    """

    request_id: str
    client: str
    method: str
    host: str
    target: str
    protocol: str
    secure: bool
    status: int
    outcome: str
    app: str
    upstream: str
    bytes_in: int
    bytes_out: int
    head_s: float
    total_s: float
    user_agent: str
    tls: str = ""
    traceparent: str = ""


#: The values of a kind, in the order of L{Kind.__init__}.
KindValues = tuple[str, str, str, str, bool, int, str, str, str, int, str, str]


class Kind:
    """What many requests have in common; see L{AccessRecord} for its meaning.

    @ivar failed: it is worth a line even where only some are written.
    @ivar pieces: the parts of a line, and first who made them (C{access_lines}).
    """

    __slots__ = (
        "app",
        "bytes_in",
        "client",
        "failed",
        "host",
        "method",
        "outcome",
        "pieces",
        "protocol",
        "secure",
        "status",
        "tls",
        "upstream",
        "user_agent",
    )

    def __init__(self, values: KindValues) -> None:
        (
            self.client,
            self.method,
            self.host,
            self.protocol,
            self.secure,
            self.status,
            self.outcome,
            self.app,
            self.upstream,
            self.bytes_in,
            self.user_agent,
            self.tls,
        ) = values
        status = self.status
        self.failed = status >= 400 or status == 0 or self.outcome == "cut"
        self.pieces: tuple[object, str, str, str] | None = None


class Kinds:
    """The kinds that were seen; the memory for them is bounded."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[KindValues, Kind] = {}

    def of(self, values: KindValues) -> Kind:
        """Return the kind with these values."""
        kind = self._known.get(values)
        if kind is None:
            if len(self._known) >= KINDS_LIMIT:
                self._known.clear()
            kind = self._known[values] = Kind(values)
        return kind


#: A request that is over, as the data path notes it: its kind, and of L{AccessRecord}
#: C{request_id}, C{target}, C{bytes_out}, C{head_s}, C{total_s} and C{traceparent}.
#: A plain tuple, as nothing costs less to make and to take apart, compiled or not.
Visit = tuple[Kind, str, str, int, float, float, str]

Sink = Callable[[Visit], None]


def record_of(visit: Visit) -> AccessRecord:
    """Return C{visit} in one piece."""
    kind, request_id, target, bytes_out, head_s, total_s, traceparent = visit
    return AccessRecord(
        request_id,
        kind.client,
        kind.method,
        kind.host,
        target,
        kind.protocol,
        kind.secure,
        kind.status,
        kind.outcome,
        kind.app,
        kind.upstream,
        kind.bytes_in,
        bytes_out,
        head_s,
        total_s,
        kind.user_agent,
        kind.tls,
        traceparent,
    )


class Gathering:
    """Visits that wait until some can be written together.

    @ivar percent: so many of a hundred are noted; of those that have failed all.
    @ivar begun: one was noted since somebody has set this to false.
    """

    __slots__ = ("_begin", "_full", "_limit", "_share", "_visits", "begun", "percent")

    def __init__(
        self, limit: int, begin: Callable[[], None], full: Callable[[], None]
    ) -> None:
        """Call C{begin} for the first one, C{full} when C{limit} of them wait."""
        self._limit = limit
        self._begin = begin
        self._full = full
        self._visits: list[Visit] = []
        self._share = 0
        self.begun = False
        self.percent = 100

    def note(self, visit: Visit) -> None:
        """Take a visit; a L{Sink}."""
        if self.percent < 100 and not visit[0].failed:
            self._share += self.percent
            if self._share < 100:
                return
            self._share -= 100
        if not self.begun:
            self.begun = True
            self._begin()
        self._visits.append(visit)
        if len(self._visits) >= self._limit:
            self._full()

    def take(self) -> list[Visit]:
        """Return those that wait, and keep none."""
        visits = self._visits
        self._visits = []
        return visits


def visit_of(record: AccessRecord, kinds: Kinds) -> Visit:
    """Return the visit that C{record} tells of."""
    return (
        kinds.of(
            (
                record.client,
                record.method,
                record.host,
                record.protocol,
                record.secure,
                record.status,
                record.outcome,
                record.app,
                record.upstream,
                record.bytes_in,
                record.user_agent,
                record.tls,
            )
        ),
        record.request_id,
        record.target,
        record.bytes_out,
        record.head_s,
        record.total_s,
        record.traceparent,
    )


def visit_by(
    request: RequestHead,
    exchange: Exchange,
    kinds: Kinds,
    *,
    client: str,
    protocol: str,
    secure: bool,
    tls: str,
    outcome: str,
    app: str,
    upstream: str,
    head_s: float,
    total_s: float,
) -> Visit:
    """Return what is noted of a request that is over.

    @param protocol: what the connection speaks; HTTP/1.0 is told by the request.
    """
    return (
        kinds.of(
            (
                client,
                request.method.decode("ascii"),
                request.name,
                "HTTP/1.0" if request.http10 else protocol,
                secure,
                exchange.status,
                outcome,
                app,
                upstream,
                exchange.request_bytes,
                request.user_agent[:USER_AGENT_LIMIT].decode("latin-1"),
                tls,
            )
        ),
        request.request_id.decode("ascii"),
        request.target[:TARGET_LIMIT].decode("ascii"),
        exchange.response_bytes,
        head_s,
        total_s,
        request.traceparent.decode("ascii"),
    )


def redacted(record: AccessRecord, parts: Collection[str]) -> AccessRecord:
    """Return the record without C{parts}: C{query}, C{client}, C{user_agent}.

    Of a query its being there is left, of an address the network (/24, /48).
    """
    if "query" in parts:
        record = record._replace(target=without_query(record.target))
    if "client" in parts:
        record = record._replace(client=network_of(record.client))
    if "user_agent" in parts:
        record = record._replace(user_agent="")
    return record


def without_query(target: str) -> str:
    """Return C{target}, and of its query that there is one."""
    path, mark, _ = target.partition("?")
    return f"{path}?***" if mark else target


def network_of(client: str) -> str:
    """Return the network of an address, C{-} if it is none."""
    try:
        bits = 24 if ip_address(client).version == 4 else 48
    except ValueError:
        return "-"
    return str(ip_network(f"{client}/{bits}", strict=False).network_address)
