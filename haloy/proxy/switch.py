"""What the connections of one worker share: table, pools, who is parked, counts.

The only mutable state of the data path besides the connections themselves. All of
it is touched from the reactor's thread alone.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve
from twisted.logger import Logger

from haloy.model.names import AppName, DomainName
from haloy.proxy.access_log import Kinds, Sink
from haloy.proxy.balance import SLOW_START_S, Rotation
from haloy.proxy.crowd import CONNECTIONS_LIMIT, Crowd
from haloy.proxy.demand import Demand, Wanted, steps_of
from haloy.proxy.descriptor import Reactor
from haloy.proxy.fast_path import FastPaths
from haloy.proxy.forwarded import Networks
from haloy.proxy.head import RequestHead
from haloy.proxy.head_cache import HeadCache
from haloy.proxy.http2.engine import REQUESTS_LIMIT
from haloy.proxy.http2.reading import ReadQueue
from haloy.proxy.http2.shedding import Shedding
from haloy.proxy.http2.turn import Turn
from haloy.proxy.interface import UpstreamFailure
from haloy.proxy.metrics import Handshakes
from haloy.proxy.naming import Names
from haloy.proxy.parking import Parking
from haloy.proxy.pool import Pool
from haloy.proxy.routes import (
    API_OWNER,
    ApiRoute,
    AppRoute,
    RouteTable,
    Upstream,
    find,
)
from haloy.proxy.target import API_OPTIONS, Target
from haloy.proxy.timer_wheel import TimerWheel
from haloy.proxy.tls.bulk import TlsBulk
from haloy.proxy.tls.intake import Intake
from haloy.proxy.tls.shaking import HandshakeQueue

if TYPE_CHECKING:
    from haloy.proxy.connection import ClientConnection
    from haloy.proxy.tunnel import Tunnel
    from haloy.proxy.upstream_selection import Seeker

_TARGETS_LIMIT: Final = 4096
#: How often it is said, at most, that a client has too many connections.
_CROWDED_S: Final = 60.0


class Switch:
    """The shared state of one worker.

    @ivar epoch: counts the tables that were served. What was learned of a route stays
        good under the next ones while that is the same, L{serves} says.
    @ivar redirects: plain requests are sent to HTTPS.
    @ivar stopping: no new requests; the answers under way are the last ones.
    @ivar retiring: an answer is the last one of its connection, and says so.
    @ivar names: what requests are called.
    @ivar take_over: goes on with a connection whose handshake has chosen HTTP/2.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Reactor,
        wheel: TimerWheel,
        *,
        networks: Networks,
        sink: Sink | None,
        id_prefix: str,
        server_name: Callable[[ssl.SSLSocket], str | None],
        take_over: Callable[[ClientConnection], None],
        connections_per_client: int = CONNECTIONS_LIMIT,
    ) -> None:
        self.reactor = reactor
        self.wheel = wheel
        self.networks = networks
        self.sink = sink
        self.kinds = Kinds()
        self.server_name = server_name
        self.take_over = take_over
        self.table = RouteTable()
        self.epoch = 0
        self.challenges: dict[str, str] = {}
        self.heads = HeadCache()
        self.public_https = 443
        self.redirects = True
        self.stopping = False
        self.retiring = False
        self.requests_total = 0
        self.handshakes = Handshakes()
        self.clients: set[ClientConnection] = set()
        self.crowd = Crowd(connections_per_client)
        self.turn = Turn(reactor)
        self.shaking = HandshakeQueue(self.turn, wheel.clock)
        self.reading = ReadQueue(self.turn)
        self.tls_bulk = TlsBulk()
        self.intake = Intake()
        self.http2_requests_limit: int = REQUESTS_LIMIT
        # What waits for clients with HTTP/2, or for apps from them.
        self.waits = 0
        self.shedding = Shedding(self)
        self.tunnels: set[Tunnel] = set()
        self.pools: dict[str, Pool] = {}
        self.failure_listeners: list[Callable[[UpstreamFailure], None]] = []
        self._demand = Demand(API_OPTIONS)
        self._rotations: dict[str, Rotation] = {}
        self.parking = Parking()
        # Host field -> target, if L{serves} says so. Emptied in place.
        self.secure_targets: dict[bytes, Target] = {}
        self.plain_targets: dict[bytes, Target] = {}
        # What was learned of requests, likewise.
        self.secure_fast_paths = FastPaths()
        self.plain_fast_paths = FastPaths()
        self.names = Names(id_prefix)
        self._quiet_until_s: dict[str, float] = {}

    # Requests.

    def target(
        self, route: AppRoute | ApiRoute, request: RequestHead, secure: bool
    ) -> Target:
        """Return the target for C{route}, and remember it where that is safe."""
        upstreams = (
            (route.upstream,) if isinstance(route, ApiRoute) else route.upstreams
        )
        name = API_OWNER if isinstance(route, ApiRoute) else route.app
        target = Target(
            self.epoch,
            request.name,
            route,
            tuple(self.pools[upstream.key] for upstream in upstreams),
            self._rotations.setdefault(name, Rotation()),
            secure=secure,
        )
        known = self.secure_targets if secure else self.plain_targets
        served = secure or not self.redirects
        if served and not request.upgrade and self._leads_to(request.name, route):
            if len(known) >= _TARGETS_LIMIT:
                known.clear()
            known[request.host] = target
        return target

    def serves(self, target: Target) -> bool:
        """Tell whether the present table leads to C{target}, too.

        So a table costs nothing where it changes nothing.
        """
        if target.epoch == self.epoch:
            return True
        if not self._leads_to(target.name, target.route):
            return False
        for pool in target.pools:
            if self.pools.get(pool.key) is not pool:
                return False
        target.epoch = self.epoch
        return True

    def _leads_to(self, name: str, route: AppRoute | ApiRoute) -> bool:
        return find(self.table, name) is route

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

    def forget(self, client: ClientConnection) -> None:
        """Count C{client}, which has ended, no more."""
        self.clients.discard(client)
        self.crowd.leave(client.origin.peer)

    def admits(self, connection: socket.socket, peer: str) -> bool:
        """Count C{connection}; false: it is closed, as C{peer} has enough of them."""
        if self.crowd.enter(peer, self.networks):
            return True
        connection.close()
        if self._may_tell("crowded", _CROWDED_S):
            self._log.warn(
                "{peer} has {count} connections, and gets no more: see "
                "limits.connections_per_client and trusted_proxies of haloyd.yaml",
                peer=peer,
                count=self.crowd.limit,
            )
        return False

    def _may_tell(self, what: str, quiet_s: float = 1.0) -> bool:
        """Let each kind of news through once in C{quiet_s}."""
        now_s = self.wheel.now_s
        if self._quiet_until_s.get(what, 0.0) > now_s:
            return False
        if len(self._quiet_until_s) > 1024:
            self._quiet_until_s.clear()
        self._quiet_until_s[what] = now_s + quiet_s
        return True

    # The control side.

    def replace_table(self, table: RouteTable) -> None:
        """Serve by C{table} from now on."""
        for _ in self.replacing(table):
            pass

    def replacing(self, table: RouteTable) -> Iterator[None]:
        """Serve by C{table} when all steps are done; requests may come in between.

        They go by the former table until there is everything that this one wants;
        then by this one, while what only that one wanted is given up.
        """
        wanted, gone = yield from self._demand.follow(table)
        yield from self._admit_all(wanted)
        self.table = table
        self.epoch += 1
        yield
        yield from self._retire_all(gone)
        owners = self._demand.apps
        for name in [name for name in self._rotations if name not in owners]:
            del self._rotations[name]
        self.parking.release_owners(owners)

    def _admit_all(self, wanted: Sequence[Wanted]) -> Iterator[None]:
        serving: set[str] = set()
        for some in steps_of(wanted):
            serving.update([one.app for one in some if self._has(one.upstream.key)])
            yield
        for some in steps_of(wanted):
            for upstream, app, options in some:
                limit = options.max_connections
                self._admit(upstream, limit, slowly=app in serving)
            yield

    def _retire_all(self, gone: Sequence[str]) -> Iterator[None]:
        for some in steps_of(gone):
            for key in some:
                self._retire(key)
            yield
        if gone:
            for rotation in self._rotations.values():
                rotation.forget(gone)

    def _has(self, key: str) -> bool:
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
