"""C{Proxy} over the control socket: haloyd's side of the split form.

What is wanted is remembered here, and told whole to whatever proxy is connected, so
a restart of either side needs nothing from those who ask. While no proxy is there,
they wait, up to a limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from attrs import evolve
from twisted.application.service import Service
from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionLost
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure as TwistedFailure

from haloy.errors import HaloyError
from haloy.model.certificate import Certificate, Challenge
from haloy.model.names import AppName
from haloy.proxy.access_log import Kinds, Sink, visit_of
from haloy.proxy.control.changes import certificate_parts, table_parts
from haloy.proxy.control.dial import ProxyUnavailable, dial, reason_of
from haloy.proxy.control.link import Link, ProxyRefused
from haloy.proxy.control.programs import programs_of
from haloy.proxy.control.protocol import (
    AccessLog,
    Configure,
    Counted,
    Drain,
    Drained,
    Failure,
    Follow,
    Message,
    Packed,
    Park,
    Present,
    Reading,
    Records,
    Traffic,
    Unpark,
    Withdraw,
)
from haloy.proxy.interface import (
    DrainLimits,
    Leftover,
    Program,
    ProxyStats,
    UpstreamFailure,
)
from haloy.proxy.metrics import TrafficReading, from_values, total
from haloy.proxy.routes import RouteTable
from haloy.tasks import Tasks

FIRST_RETRY_S: Final = 0.05
LONGEST_RETRY_S: Final = 1.0
#: How long somebody who asks waits for a proxy to be there and to answer.
LIMIT_S: Final = 40.0
FOLLOW_S: Final = 0.5
_GRACE_S: Final = 20.0

_T = TypeVar("_T")


class RemoteProxy(Service):
    """C{Proxy} in processes of its own.

    @ivar http_port: C{https_port} and this are the supervisor's business: 0.
    """

    _log = Logger()
    http_port = 0
    https_port = 0

    def __init__(
        self,
        reactor: Any,
        path: str,
        settings: Mapping[str, Any],
        access_log: Sink | None = None,
        followed: Callable[[], bool] = lambda: False,
        limit_s: float = LIMIT_S,
    ) -> None:
        """Prepare; nobody is called before the service starts.

        @param settings: what workers start with, by the names of
            L{haloy.proxy.settings.Settings}, as JSON has them.
        @param access_log: is told of requests while C{followed} says that somebody
            reads them right now.
        """
        self._reactor = reactor
        self._path = path
        self._settings = settings
        self._sink = access_log
        self._kinds = Kinds()
        self._followed = followed
        self._limit_s = limit_s
        self._tasks = Tasks(self._log)
        self._table: RouteTable | None = None
        self._certificates: tuple[Certificate, ...] | None = None
        self._challenges: dict[Challenge, None] = {}
        self._parked_until_s: dict[AppName, float] = {}
        self._listeners: list[Callable[[UpstreamFailure], None]] = []
        self._link: Link | None = None
        self._sent_table: RouteTable | None = None
        self._sent_certificates: tuple[Certificate, ...] | None = None
        self._following = False
        self._access_log = AccessLog()
        self._told_log: AccessLog | None = None
        self._waiting: list[Deferred[None]] = []
        self._trouble = "it is not connected yet"
        self._stats = ProxyStats(0, 0, 0, 0, 0)
        self._follow_round = LoopingCall(self._follow)
        self._follow_round.clock = reactor

    # --- the service --------------------------------------------------------------

    def startService(self) -> None:
        """Connect, and connect again whenever the connection is lost."""
        super().startService()
        self._tasks.start("talking to the proxy", self._stay_connected())
        self._follow_round.start(FOLLOW_S, now=False).addErrback(
            lambda failure: self._log.failure("following the access log", failure)
        )

    def stopService(self) -> Deferred[None]:
        """Go; the proxy serves on."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._tasks.stop()
        if self._follow_round.running:
            self._follow_round.stop()
        self._release(ProxyUnavailable("haloyd stops"))

    @property
    def trouble(self) -> str:
        """Why there is no proxy at work, C{""}: there is."""
        return "" if self._link is not None else f"haloy-proxy: {self._trouble}"

    # --- the connection -----------------------------------------------------------

    async def _stay_connected(self) -> None:
        retry_s = FIRST_RETRY_S
        told = ""
        while self.running:
            lost: Deferred[None] = Deferred()
            try:
                link = await dial(
                    self._reactor,
                    self._path,
                    self._heard,
                    lambda _, lost=lost: lost.callback(None),  # type: ignore[misc]  # bound here,
                )
                await self._bring_up_to_date(link)
            except (
                HaloyError,
                ConnectError,
                ConnectionLost,
                defer.TimeoutError,
            ) as problem:
                self._trouble = reason_of(problem)
                if self._trouble != told:
                    told = self._trouble
                    self._log.error(
                        "haloy-proxy at {path}: {reason}; it is tried again",
                        path=self._path,
                        reason=told,
                    )
                await deferLater(self._reactor, retry_s)
                retry_s = min(2 * retry_s, LONGEST_RETRY_S)
                continue
            self._link = link
            retry_s, told = FIRST_RETRY_S, ""
            self._release(None)
            try:
                if self.running:  # who was released may have stopped us
                    await lost
            finally:
                self._link = None
                link.abort()
            self._trouble = "the connection was lost"
            self._log.warn("the connection to haloy-proxy is lost")

    async def _bring_up_to_date(self, link: Link) -> None:
        """Tell a proxy everything, whatever it knows from before."""
        self._sent_table = self._sent_certificates = None
        self._following = False
        self._told_log = None
        try:
            await link.ask(Configure(self._settings), LIMIT_S)
            for challenge in tuple(self._challenges):
                await link.ask(Present(challenge), LIMIT_S)
            now_s = self._reactor.seconds()
            for app, until_s in tuple(self._parked_until_s.items()):
                if until_s > now_s:
                    await link.ask(Park(app, until_s - now_s), LIMIT_S)
            await self._send_certificates(link)
            await self._send_table(link)
            self._tell_log(link)
        except BaseException:
            link.abort()
            raise

    async def _send_table(self, link: Link) -> None:
        """Bring the proxy to the newest table; a table in between may be left out."""
        while (table := self._table) is not None and self._sent_table is not table:
            parts = table_parts(self._sent_table, table)
            for part in parts[:-1]:
                link.tell(part)
            try:
                await link.ask(parts[-1], self._limit_s)
            except (ProxyRefused, defer.TimeoutError):
                self._sent_table = None  # who has it is not known: the next goes whole
                raise
            self._sent_table = table

    async def _send_certificates(self, link: Link) -> None:
        while (
            held := self._certificates
        ) is not None and self._sent_certificates is not held:
            parts = certificate_parts(self._sent_certificates, held)
            try:
                await self._send_parts(link, parts)
            except (ProxyRefused, defer.TimeoutError):
                self._sent_certificates = None  # as with a table
                raise
            self._sent_certificates = held

    async def _send_parts(self, link: Link, parts: Sequence[Message]) -> None:
        """Send all; what is said to the last one counts for all of them."""
        for part in parts[:-1]:
            link.ask(part, self._limit_s).addErrback(lambda _: None)
        await link.ask(parts[-1], self._limit_s)

    # --- asking -------------------------------------------------------------------

    async def _do(
        self, what: Callable[[Link], Awaitable[_T]], limit_s: float = LIMIT_S
    ) -> _T:
        """Do C{what} with a proxy that is up to date; again with the next one.

        @raise ProxyUnavailable: the time is over.
        """
        until_s = self._reactor.seconds() + min(limit_s, self._limit_s)
        while True:
            link = await self._linked(until_s)
            try:
                return await what(link)
            except ConnectionLost:
                continue
            except defer.TimeoutError:
                raise ProxyUnavailable("haloy-proxy does not answer") from None

    async def _linked(self, until_s: float) -> Link:
        while (link := self._link) is None or not link.up:
            left_s = until_s - self._reactor.seconds()
            if left_s <= 0:
                raise ProxyUnavailable(f"haloy-proxy: {self._trouble}")
            waiter: Deferred[None] = Deferred()
            self._waiting.append(waiter)
            waiter.addTimeout(left_s, self._reactor)
            try:
                await waiter
            except defer.TimeoutError:
                continue
        return link

    def _release(self, problem: HaloyError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if waiter.called:
                continue
            if problem is None:
                waiter.callback(None)
            else:
                waiter.errback(TwistedFailure(problem))

    # --- the Proxy contract -------------------------------------------------------

    async def replace_table(self, table: RouteTable) -> None:
        """See L{haloy.proxy.interface.Proxy.replace_table}."""
        self._table = table
        await self._do(self._send_table)

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        """See L{haloy.proxy.interface.Proxy.replace_certificates}."""
        self._certificates = certificates
        await self._do(self._send_certificates)

    async def present(self, challenge: Challenge) -> None:
        """See L{haloy.proxy.interface.Proxy.present}."""
        self._challenges[challenge] = None
        await self._do(lambda link: link.ask(Present(challenge), self._limit_s))

    async def withdraw(self, challenge: Challenge) -> None:
        """See L{haloy.proxy.interface.Proxy.withdraw}."""
        self._challenges.pop(challenge, None)
        await self._do(lambda link: link.ask(Withdraw(challenge), self._limit_s))

    async def drain(self, key: str, limits: DrainLimits) -> Leftover:
        """See L{haloy.proxy.interface.Proxy.drain}."""
        limit_s = limits.requests_s + limits.tunnels_s + _GRACE_S
        answer = await self._do(lambda link: link.ask(Drain(key, limits), limit_s))
        return answer.left if isinstance(answer, Drained) else Leftover(0, 0)

    async def park(self, app: AppName, limit_s: float) -> None:
        """See L{haloy.proxy.interface.Proxy.park}."""
        self._parked_until_s[app] = self._reactor.seconds() + limit_s
        await self._do(lambda link: link.ask(Park(app, limit_s), self._limit_s))

    async def unpark(self, app: AppName) -> None:
        """See L{haloy.proxy.interface.Proxy.unpark}."""
        self._parked_until_s.pop(app, None)
        await self._do(lambda link: link.ask(Unpark(app), self._limit_s))

    def stats(self) -> ProxyStats:
        """See L{haloy.proxy.interface.Proxy.stats}.

        Counts are a moment old; the generation is the one that all acknowledged.
        """
        acknowledged = self._sent_table
        if acknowledged is None:
            return self._stats
        return evolve(self._stats, generation=acknowledged.generation)

    async def traffic(self) -> TrafficReading:
        """See L{haloy.proxy.interface.Proxy.traffic}."""
        answer = await self._do(lambda link: link.ask(Traffic(), self._limit_s), 5.0)
        told = answer.workers if isinstance(answer, Counted) else ()
        return total(from_values(dict(one)) for one in told)

    async def programs(self) -> tuple[Program, ...]:
        """See L{haloy.proxy.interface.Proxy.programs}; waits for nobody."""
        if self._link is None:
            raise ProxyUnavailable(self.trouble)
        answer = await self._do(lambda link: link.ask(Traffic(), self._limit_s), 2.0)
        return programs_of(answer) if isinstance(answer, Counted) else ()

    def trust(self, networks: Sequence[str]) -> None:
        """See L{haloy.proxy.interface.Proxy.trust}; workers are replaced."""
        self._settings = {**self._settings, "trusted_proxies": list(networks)}
        if self._link is not None and self._link.up:
            self._tasks.start("telling the settings", self._send_settings(self._link))

    def log_requests(self, log: AccessLog) -> None:
        """Let workers write requests as C{log} says, by themselves.

        Its descriptor is the caller's, and open until the next call; what is told is
        told again until all workers have it.
        """
        self._access_log = log
        if self._link is not None and self._link.up:
            self._tell_log(self._link)

    def _tell_log(self, link: Link) -> None:
        log = self._told_log = self._access_log

        def forget(_: TwistedFailure) -> None:
            if self._told_log is log:
                self._told_log = None

        link.ask(log, self._limit_s).addErrback(forget)

    async def _send_settings(self, link: Link) -> None:
        await link.ask(Configure(self._settings), self._limit_s)

    def on_upstream_failure(self, notify: Callable[[UpstreamFailure], None]) -> None:
        """See L{haloy.proxy.interface.Proxy.on_upstream_failure}."""
        self._listeners.append(notify)

    # --- news ---------------------------------------------------------------------

    def _heard(self, link: Link, message: Message, came: Packed) -> None:
        if isinstance(message, Reading):
            self._stats = message.stats
        elif isinstance(message, Failure):
            for notify in tuple(self._listeners):
                notify(message.failure)
        elif isinstance(message, Records) and self._sink is not None:
            for record in message.records:
                self._sink(visit_of(record, self._kinds))

    def _follow(self) -> None:
        """Ask for requests exactly while somebody reads them."""
        link, wanted = self._link, self._followed()
        if link is None or not link.up:
            return
        if wanted != self._following:
            self._following = wanted
            link.ask(Follow(wanted), self._limit_s).addErrback(lambda _: None)
        if self._told_log is not self._access_log:
            self._tell_log(link)
