"""What the connections of one worker share: table, pools, who is parked, counts.

The only mutable state of the data path besides the connections themselves. All of
it is touched from the reactor's thread alone.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from attrs import evolve
from twisted.logger import Logger

from haloy.model.app import Balance, Protocol, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy import pages
from haloy.proxy.access_log import Kinds, Sink
from haloy.proxy.balance import SLOW_START_S, Rotation
from haloy.proxy.carriage import Carriage
from haloy.proxy.demand import Demand
from haloy.proxy.descriptor import Reactor
from haloy.proxy.forwarded import Networks
from haloy.proxy.head import RequestHead
from haloy.proxy.head_cache import HeadCache
from haloy.proxy.http2.engine import REQUESTS_LIMIT
from haloy.proxy.http2.turn import Turn
from haloy.proxy.interface import UpstreamFailure
from haloy.proxy.lane import Lanes
from haloy.proxy.metrics import Handshakes
from haloy.proxy.parking import Parking
from haloy.proxy.pool import Pool
from haloy.proxy.routes import API_OWNER, ApiRoute, AppRoute, RouteTable, Upstream
from haloy.proxy.wheel import Wheel

if TYPE_CHECKING:
    from haloy.proxy.connection import ClientConnection
    from haloy.proxy.seeking import Seeker
    from haloy.proxy.tunnel import Tunnel

_TARGETS_LIMIT: Final = 4096
#: Connections of one address with HTTP/2, that of a proxy we trust excepted.
HTTP2_CONNECTIONS_LIMIT: Final = 256

# The API's times: decisions.md, "On the wire".
_API_OPTIONS: Final = ProxyOptions(
    response_timeout_s=900.0, body_timeout_s=300.0, max_connections=1024
)
_API_STREAM_IDLE_S: Final = 300.0


class Target:
    """A route with what forwarding by it needs at hand, for one table."""

    __slots__ = (
        "_balance",
        "_pools",
        "_rotation",
        "app",
        "body_timeout_s",
        "connect_timeout_s",
        "extra",
        "h2c",
        "is_api",
        "max_body_bytes",
        "only",
        "replaced",
        "response_timeout_s",
        "route",
        "secure",
        "stream_idle_s",
        "table",
        "tunnel_idle_s",
    )

    def __init__(
        self,
        table: RouteTable,
        route: AppRoute | ApiRoute,
        pools: tuple[Pool, ...],
        rotation: Rotation,
        *,
        secure: bool,
    ) -> None:
        options = _API_OPTIONS if isinstance(route, ApiRoute) else route.options
        self.table = table
        self.route = route
        self.secure = secure
        self.is_api = isinstance(route, ApiRoute)
        self.app = API_OWNER if isinstance(route, ApiRoute) else route.app
        self._pools = pools
        self.only = pools[0] if len(pools) == 1 else None
        self._rotation = rotation
        self._balance: Balance = options.balance
        self.h2c = options.protocol is Protocol.H2C
        for pool in pools:
            pool.h2c = self.h2c
        self.connect_timeout_s = options.connect_timeout_s
        self.response_timeout_s = options.response_timeout_s
        self.body_timeout_s = options.body_timeout_s
        self.tunnel_idle_s = options.tunnel_idle_s
        self.stream_idle_s = (
            _API_STREAM_IDLE_S if self.is_api else options.tunnel_idle_s
        )
        self.max_body_bytes = options.max_body_bytes
        self.extra, self.replaced = _extra_fields(options, secure=secure)

    def pick(self, now_s: float, tried: tuple[str, ...]) -> Pool | None:
        """Return who serves next, C{None} when all were tried."""
        return self._rotation.pick(self._pools, now_s, tried, self._balance)

    def nobody(self) -> pages.Page:
        """Return the answer when there is no upstream."""
        if self.is_api:
            return pages.Page(
                503,
                "The control plane is not available.",
                retry_after_s=5,
                text=True,
                code="unavailable",
            )
        return pages.unavailable()

    def bad_answer(self) -> pages.Page:
        """Return the answer when the upstream gave no valid one."""
        return self.nobody() if self.is_api else pages.error(502)


class Switch:
    """The shared state of one worker.

    @ivar redirects: plain requests are sent to HTTPS.
    @ivar stopping: no new requests; the answers under way are the last ones.
    @ivar retiring: an answer is the last one of its connection, and says so.
    @ivar take_over: goes on with a connection whose handshake has chosen HTTP/2.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        wheel: Wheel,
        *,
        networks: Networks,
        sink: Sink | None,
        id_prefix: str,
        server_name: Callable[[ssl.SSLSocket], str | None],
        take_over: Callable[[ClientConnection], None],
    ) -> None:
        self.reactor = reactor
        self.wheel = wheel
        self.networks = networks
        self.sink = sink
        self.kinds = Kinds()
        self.server_name = server_name
        self.take_over = take_over
        self.table = RouteTable()
        self.challenges: dict[str, str] = {}
        self.heads = HeadCache()
        self.public_https = 443
        self.redirects = True
        self.stopping = False
        self.retiring = False
        self.requests_total = 0
        self.handshakes = Handshakes()
        self.clients: set[ClientConnection] = set()
        self.turn = Turn(reactor)
        self.carriage = Carriage()
        self.http2_peers: dict[str, int] = {}
        self.http2_connections_limit: int = HTTP2_CONNECTIONS_LIMIT
        self.http2_requests_limit: int = REQUESTS_LIMIT
        self.waits = 0
        self.tunnels: set[Tunnel] = set()
        self.pools: dict[str, Pool] = {}
        self.failure_listeners: list[Callable[[UpstreamFailure], None]] = []
        self._demand = Demand(_API_OPTIONS)
        self._rotations: dict[str, Rotation] = {}
        self.parking = Parking()
        # Host field -> target under the present table. Emptied in place.
        self.secure_targets: dict[bytes, Target] = {}
        self.plain_targets: dict[bytes, Target] = {}
        # What was learned of requests under the present table, likewise.
        self.secure_lanes = Lanes()
        self.plain_lanes = Lanes()
        self._id_prefix = id_prefix.encode("ascii")
        self._quiet_until_s: dict[str, float] = {}

    # Requests.

    def next_request_id(self) -> bytes:
        """Return a name for a request, unique in this worker and unlikely elsewhere."""
        return b"%b%08x" % (self._id_prefix, self.requests_total)

    def next_traceparent(self) -> bytes:
        """Return the beginning of a trace (W3C Trace Context), to be sampled.

        An app's tracing follows what it is told: C{00} would switch it off.
        """
        number = self.requests_total
        return b"00-%b%020x-%016x-01" % (self._id_prefix, number, number)

    def target(
        self, route: AppRoute | ApiRoute, request: RequestHead, secure: bool
    ) -> Target:
        """Return the target for C{route}, and remember it where that is safe."""
        upstreams = (
            (route.upstream,) if isinstance(route, ApiRoute) else route.upstreams
        )
        name = API_OWNER if isinstance(route, ApiRoute) else route.app
        target = Target(
            self.table,
            route,
            tuple(self.pools[upstream.key] for upstream in upstreams),
            self._rotations.setdefault(name, Rotation()),
            secure=secure,
        )
        known = self.secure_targets if secure else self.plain_targets
        served = secure or not self.redirects
        if served and not request.upgrade and len(known) < _TARGETS_LIMIT:
            known[request.host] = target
        return target

    def give_up(self, seeker: Seeker) -> None:
        """Forget a request that waits no longer."""
        self.parking.forget(seeker)
        seeker.leave_queue()

    # Upstreams.

    def dial_failed(self, pool: Pool, reason: str) -> None:
        """Eject C{pool}, which did not take a connection, and say so.

        Once a second at most: with no other replica every request fails.
        """
        pool.failed(self.wheel.now_s)
        if not self._may_tell(f"dial {pool.key}"):
            return
        self._log.warn(
            "upstream {upstream} takes no connections: {reason}",
            upstream=pool.key,
            reason=reason,
        )
        if pool.key != API_OWNER:
            failure = UpstreamFailure(pool.key, reason)
            for notify in tuple(self.failure_listeners):
                notify(failure)

    def bad_answer(self, key: str, reason: str) -> None:
        """Note that an upstream gave no valid answer."""
        if self._may_tell(f"answer {key}"):
            self._log.warn(
                "upstream {upstream} gave no valid answer: {reason}",
                upstream=key,
                reason=reason,
            )

    def close_idle(self) -> bool:
        """Close what is idle to all upstreams; false: nothing was."""
        idle = [pool for pool in self.pools.values() if pool.idle]
        for pool in idle:
            pool.close_idle()
        return bool(idle)

    def exhausted(self, error: OSError) -> None:
        """Note that no descriptor is left for a connection to an upstream."""
        if self._may_tell("exhausted"):
            self._log.error("no descriptor left: {error}", error=error)

    def handshake_failed(self, peer: str, error: OSError) -> None:
        """Note that a client and we could not agree on TLS."""
        self.handshakes.failed += 1
        self._log.debug("handshake with {peer} failed: {error}", peer=peer, error=error)

    def _may_tell(self, what: str) -> bool:
        """Let each kind of news through once a second."""
        now_s = self.wheel.now_s
        if self._quiet_until_s.get(what, 0.0) > now_s:
            return False
        if len(self._quiet_until_s) > 1024:
            self._quiet_until_s.clear()
        self._quiet_until_s[what] = now_s + 1.0
        return True

    # The control side.

    def replace_table(self, table: RouteTable) -> None:
        """Serve by C{table} from now on."""
        wanted, gone = self._demand.follow(table)
        self.table = table
        self.secure_targets.clear()
        self.plain_targets.clear()
        self.secure_lanes.clear()
        self.plain_lanes.clear()
        serving = {one.app for one in wanted if self._serves(one.upstream.key)}
        for one in wanted:
            limit = one.options.max_connections
            self._admit(one.upstream, limit, slowly=one.app in serving)
        for key in gone:
            self._retire(key)
        if gone:
            for rotation in self._rotations.values():
                rotation.forget(gone)
        owners = self._demand.apps
        for name in [name for name in self._rotations if name not in owners]:
            del self._rotations[name]
        self.parking.release_owners(owners)

    def _serves(self, key: str) -> bool:
        pool = self.pools.get(key)
        return pool is not None and not pool.retired

    def _admit(self, upstream: Upstream, limit: int, *, slowly: bool) -> None:
        key = upstream.key
        pool = self.pools.get(key)
        if pool is None or pool.retired:
            if pool is None:
                pool = self.pools[key] = Pool(key, upstream.address, limit)
            pool.readmit()
            if slowly:
                pool.full_share_at = self.wheel.now_s + SLOW_START_S
        pool.limit = limit
        pool.move(upstream.address)

    def _retire(self, key: str) -> None:
        pool = self.pools[key]
        pool.retire()
        if not pool.outstanding and not pool.tunnels:
            del self.pools[key]

    def target_now(self, seeker: Seeker) -> Target:
        """Return the target by the present table for a request that waited."""
        old = seeker.target
        route: AppRoute | ApiRoute = old.route
        if isinstance(route, AppRoute):
            name = route.canonical
            if name.startswith("*."):
                now = self.table.wildcard.get(name[2:])
            else:
                now = self.table.exact.get(name)
            route = now if isinstance(now, AppRoute) else evolve(route, upstreams=())
        elif route.upstream.key not in self.pools:
            route = AppRoute(AppName(API_OWNER), DomainName(""), ())
        return self.target(route, seeker.request, old.secure)

    def tick(self) -> None:
        """Close what has been idle for too long, forget pools that are through."""
        now_s = self.wheel.now_s
        for key, pool in tuple(self.pools.items()):
            pool.age(now_s)
            if pool.retired and not pool.outstanding and not pool.tunnels:
                del self.pools[key]
        self.parking.tick(now_s)


def _extra_fields(
    options: ProxyOptions, *, secure: bool
) -> tuple[bytes, frozenset[bytes]]:
    """Return the lines added to answers and the names that they replace."""
    fields = list(options.response_headers)
    if options.hsts_max_age_s is not None and secure:
        fields.append(
            ("Strict-Transport-Security", f"max-age={options.hsts_max_age_s}")
        )
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return lines.encode("latin-1"), frozenset(n.lower().encode() for n, _ in fields)
