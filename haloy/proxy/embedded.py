"""The data path in this process, as a Twisted service behind the C{Proxy} contract."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Final, cast

from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from haloy.model.certificate import Certificate, Challenge, ChallengeKind, Secret
from haloy.model.names import AppName
from haloy.proxy.access_log import Sink
from haloy.proxy.descriptor import Reactor
from haloy.proxy.downstream import Downstream
from haloy.proxy.form import form
from haloy.proxy.forwarded import parse_networks
from haloy.proxy.http2.downstream import take_over
from haloy.proxy.interface import (
    DrainLimits,
    Leftover,
    Program,
    ProxyStats,
    UpstreamFailure,
)
from haloy.proxy.listener import (
    Listener,
    open_sockets,
    room_for_connections,
)
from haloy.proxy.metrics import (
    RequestCounter,
    TrafficReading,
    counted,
    upstream_readings,
)
from haloy.proxy.pacing import Pace
from haloy.proxy.pool import Pool
from haloy.proxy.routes import RouteTable, apps_of
from haloy.proxy.settings import Settings
from haloy.proxy.shares import Share, whole_share
from haloy.proxy.switch import Switch
from haloy.proxy.timer_wheel import TICK_S, TimerWheel
from haloy.proxy.tls.contexts import Contexts, SniContexts
from haloy.proxy.tls.policy import offered

_NEW_KEYS_S: Final = 86400.0
_STOP_POLL_S: Final = 0.05


class EmbeddedProxy(Service):
    """C{Proxy} in this process."""

    _log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        settings: Settings,
        contexts: Contexts | None = None,
        access_log: Sink | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Random | None = None,
        share: Share | None = None,
    ) -> None:
        """Prepare; nothing is bound before the service starts.

        @param reactor: one with descriptors and time.
        @param contexts: the TLS side, L{SniContexts} unless another one is given.
        @param access_log: called with one record for each request.
        @param clock: monotonic seconds.
        @param share: ours of what several workers accept; alone without it.
        @raise InvalidValue: C{trusted_proxies} names no network.
        """
        self._time = reactor
        self._reactor = cast(Reactor, reactor)
        self._settings = settings
        self._share = share or whole_share()
        self._contexts: Contexts = contexts or SniContexts(
            offered(http2=settings.http2)
        )
        self._wheel = TimerWheel(clock)
        self._counter = RequestCounter()
        bits = (random or SystemRandom()).getrandbits(48)
        self._switch = Switch(
            self._reactor,
            self._wheel,
            networks=parse_networks(settings.trusted_proxies),
            sink=counted(self._counter, access_log),
            id_prefix=f"{bits:012x}",
            server_name=self._contexts.server_name,
            take_over=take_over,
            connections_per_client=settings.connections_per_client,
        )
        self._plain: list[Listener] = []
        self._secure: list[Listener] = []
        self._connections_limit = 0
        self.pace = Pace(reactor, clock)
        self._keys_until_s = self._wheel.now_s + _NEW_KEYS_S
        self._ticking: LoopingCall | None = None

    def note_at(self, access_log: Sink | None) -> None:
        """Tell C{access_log} of requests from now on."""
        self._switch.sink = counted(self._counter, access_log)

    # The service.

    def privilegedStartService(self) -> None:
        """Bind, while we still may.

        @raise OSError: an address cannot be bound.
        """
        super().privilegedStartService()
        self._open()

    def _open(self) -> None:
        if self._plain or self._secure:
            return
        secure = open_sockets(self._settings.https)
        try:
            plain = open_sockets(self._settings.http)
        except OSError:
            for listening in secure:
                listening.close()
            raise
        self._secure = [self._listener(one, self._take_tls) for one in secure]
        self._plain = [self._listener(one, self._take_plain) for one in plain]

    def startService(self) -> None:
        """Bind if that has not happened yet, and begin to accept."""
        super().startService()
        self._open()
        self._switch.redirects = bool(self._secure)
        self._switch.public_https = self._settings.public_https or self.https_port
        self._connections_limit = room_for_connections()
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = self._time
        self._ticking.start(TICK_S, now=False).addErrback(
            lambda failure: self._log.failure("the proxy's timer failed", failure)
        )
        for listener in (*self._plain, *self._secure):
            listener.start()
        self._share.note(0)

    def stopService(self) -> Deferred[None]:
        """Accept no more, let requests end up to the limit, cut what is left."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def retire(self, limit_s: float) -> None:
        """Accept no more; return when every connection has ended, or C{limit_s} have.

        A stop closes idle connections, and a client may be sending on one just then.
        Here each keeps its time, and what comes on it is answered as its last.
        """
        self._close_listeners()
        switch = self._switch
        switch.retiring = True
        for client in tuple(switch.clients):
            client.retire()
        until_s = self._wheel.clock() + limit_s
        while switch.clients and self._wheel.clock() < until_s:
            await deferLater(self._time, _STOP_POLL_S)

    def _close_listeners(self) -> None:
        for listener in (*self._plain, *self._secure):
            listener.stop()
        self._plain, self._secure = [], []
        self._share.leave()

    async def _stop(self) -> None:
        self._close_listeners()
        switch = self._switch
        switch.stopping = switch.retiring = True
        for client in tuple(switch.clients):
            client.stop()
        until_s = self._time.seconds() + self._settings.stop_s
        while self._time.seconds() < until_s and (
            self._requests_active() or any(one.busy for one in switch.clients)
        ):
            await deferLater(self._time, _STOP_POLL_S)
        for tunnel in tuple(switch.tunnels):
            tunnel.cut()
        for client in tuple(switch.clients):
            client.drop()
        for pool in switch.pools.values():
            pool.close_idle()
        if self._ticking is not None:
            self._ticking.stop()
            self._ticking = None
        # Let what was scheduled for the next turn find its connections closed.
        await deferLater(self._time, 0)

    @property
    def trouble(self) -> str:
        """Why nothing is served, C{""}: it is."""
        return "" if self.running else "not listening"

    @property
    def http_port(self) -> int:
        """The port that is really bound, 0 without a plain listener."""
        return self._plain[0].port if self._plain else 0

    @property
    def https_port(self) -> int:
        """The port that is really bound, 0 without a TLS listener."""
        return self._secure[0].port if self._secure else 0

    def _listener(
        self, listening: socket.socket, take: Callable[[socket.socket, str], None]
    ) -> Listener:
        return Listener(
            self._reactor,
            listening,
            take,
            lambda: len(self._switch.clients) < self._connections_limit,
            self._settings.accept_at_once,
            lambda: self._share.is_ample(len(self._switch.clients)),
        )

    def _take_plain(self, connection: socket.socket, peer: str) -> None:
        if not self._switch.admits(connection, peer):
            return
        client = Downstream(self._switch, connection, peer, secure=False)
        self._switch.clients.add(client)
        client.start()

    def _take_tls(self, connection: socket.socket, peer: str) -> None:
        if not self._switch.admits(connection, peer):
            return
        try:
            tls = self._contexts.context.wrap_socket(
                connection,
                server_side=True,
                do_handshake_on_connect=False,
                suppress_ragged_eofs=True,
            )
        except OSError as error:
            # The peer has left before we came to it.
            self._switch.crowd.leave(peer)
            self._switch.handshake_failed(peer, error)
            connection.close()
            return
        client = Downstream(self._switch, tls, peer, secure=True)
        self._switch.clients.add(client)
        client.start_tls(tls)

    def _tick(self) -> None:
        self._wheel.tick()
        self._switch.tick()
        if self._wheel.now_s >= self._keys_until_s:
            self._keys_until_s = self._wheel.now_s + _NEW_KEYS_S
            self._contexts.renew()
        for listener in (*self._plain, *self._secure):
            listener.tick()
        if self._plain or self._secure:
            self._share.note(len(self._switch.clients))

    def share_tickets(self, keys: Secret) -> None:
        """Use C{keys} for session tickets, as all workers do; to be told daily.

        If nobody does, keys of our own follow.
        """
        self._keys_until_s = self._wheel.now_s + 2 * _NEW_KEYS_S
        self._contexts.renew(keys)

    def _requests_active(self) -> int:
        return sum(pool.outstanding for pool in self._switch.pools.values())

    def trust(self, networks: Sequence[str]) -> None:
        """See L{haloy.proxy.interface.Proxy.trust}.

        Connections that stand keep what they had.

        @raise InvalidValue: one is no network.
        """
        self._switch.networks = parse_networks(networks)

    # The Proxy contract.

    async def replace_table(self, table: RouteTable) -> None:
        """See L{haloy.proxy.interface.Proxy.replace_table}."""
        steps = self._switch.replacing(table)
        await self.pace.take(steps, lambda: bool(self.running))

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        """See L{haloy.proxy.interface.Proxy.replace_certificates}."""
        self._contexts.replace(certificates)

    async def present(self, challenge: Challenge) -> None:
        """See L{haloy.proxy.interface.Proxy.present}."""
        if challenge.kind is ChallengeKind.HTTP_01:
            self._switch.challenges[challenge.token] = challenge.key_authorization
        elif challenge.kind is ChallengeKind.TLS_ALPN_01:
            self._contexts.present_alpn(challenge)

    async def withdraw(self, challenge: Challenge) -> None:
        """See L{haloy.proxy.interface.Proxy.withdraw}."""
        if challenge.kind is ChallengeKind.HTTP_01:
            self._switch.challenges.pop(challenge.token, None)
        elif challenge.kind is ChallengeKind.TLS_ALPN_01:
            self._contexts.withdraw_alpn(challenge)

    async def drain(self, key: str, limits: DrainLimits) -> Leftover:
        """See L{haloy.proxy.interface.Proxy.drain}."""
        pool = self._switch.pools.get(key)
        if pool is None:
            return Leftover(0, 0)
        until_s = self._wheel.clock() + limits.tunnels_s
        await self._quiet(pool, lambda: not pool.outstanding, limits.requests_s)
        left_s = until_s - self._wheel.clock()
        await self._quiet(pool, lambda: not pool.tunnels, left_s)
        return Leftover(pool.outstanding, pool.tunnels)

    async def _quiet(
        self, pool: Pool, is_quiet: Callable[[], bool], limit_s: float
    ) -> None:
        """Wait until C{is_quiet} or the limit has passed."""
        if is_quiet() or limit_s <= 0:
            return
        done: Deferred[None] = Deferred()

        def check() -> None:
            if is_quiet() and not done.called:
                done.callback(None)

        pool.on_quiet.append(check)
        done.addTimeout(limit_s, self._time)
        try:
            await done
        except defer.TimeoutError:
            return
        finally:
            pool.on_quiet.remove(check)

    async def park(self, app: AppName, limit_s: float) -> None:
        """See L{haloy.proxy.interface.Proxy.park}."""
        self._switch.parking.begin(app, self._switch.wheel.now_s + limit_s)

    async def unpark(self, app: AppName) -> None:
        """See L{haloy.proxy.interface.Proxy.unpark}."""
        self._switch.parking.end(app)

    def stats(self) -> ProxyStats:
        """See L{haloy.proxy.interface.Proxy.stats}."""
        switch = self._switch
        return ProxyStats(
            generation=switch.table.generation,
            connections=len(switch.clients),
            requests_active=self._requests_active(),
            tunnels_active=len(switch.tunnels),
            requests_total=switch.requests_total,
            draining={
                key: Leftover(pool.outstanding, pool.tunnels)
                for key, pool in switch.pools.items()
                if pool.retired and (pool.outstanding or pool.tunnels)
            },
            parked=switch.parking.apps,
        )

    async def programs(self) -> tuple[Program, ...]:
        """See L{haloy.proxy.interface.Proxy.programs}: this process."""
        return (Program("", form()),)

    async def traffic(self) -> TrafficReading:
        """See L{haloy.proxy.interface.Proxy.traffic}."""
        switch = self._switch
        self._counter.forget(switch.pools.keys())
        made = switch.handshakes
        return TrafficReading(
            self._counter.reading(),
            upstream_readings(apps_of(switch.table), switch.pools),
            len(switch.clients),
            *(made.full, made.resumed, made.failed),
        )

    def on_upstream_failure(self, notify: Callable[[UpstreamFailure], None]) -> None:
        """See L{haloy.proxy.interface.Proxy.on_upstream_failure}."""
        self._switch.failure_listeners.append(notify)
