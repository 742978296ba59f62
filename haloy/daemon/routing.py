"""The only writer of the route table: intents -> table -> acknowledged by the proxy.

Changes that come while a table is on its way are sent together with the next
one, so a burst of verdicts costs two tables, not hundreds; everybody who waits is
told when a table with its change is served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.logger import Logger

from haloy.daemon.intents import Intents
from haloy.errors import HaloyError
from haloy.model.app import App, Domain, Replica, UnixAddress, Verdict
from haloy.model.names import AppName
from haloy.proxy.interface import DrainLimits, Leftover, Proxy
from haloy.proxy.routes import RoutedApp, TableBuilder
from haloy.tasks import Tasks


def _ignore(intents: Intents) -> None:
    """Tell nobody."""


async def _at_once() -> None:
    """Wait for nothing."""


@define(eq=False)
class Routing:
    """Implements C{deploy.interface.Traffic} on a L{Proxy}.

    @ivar _changed: called with the intents of every table that is served; the
        snapshot and the wanted certificates follow from it.
    @ivar _kept: returns when all of these would be found again after a crash.
    """

    _proxy: Proxy
    _api_address: UnixAddress
    _intents: Intents
    _generation: int = 0
    _changed: Callable[[Intents], None] = _ignore
    _kept: Callable[[], Awaitable[None]] = _at_once
    _log: Logger = field(factory=Logger, init=False)
    _tasks: Tasks = field(init=False)
    _routed: Mapping[AppName, RoutedApp] = field(factory=dict, init=False)
    _earlier: Intents | None = field(default=None, init=False)
    _builder: TableBuilder = field(factory=TableBuilder, init=False)
    _version: int = field(default=0, init=False)
    _publishing: bool = field(default=False, init=False)
    _held: bool = field(default=False, init=False)
    _waiting: list[tuple[int, Deferred[None]]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Own the coroutines that publish."""
        self._tasks = Tasks(self._log)

    @property
    def intents(self) -> Intents:
        """What is wanted right now."""
        return self._intents

    # --- Traffic -----------------------------------------------------------

    async def claim(self, app: AppName, domains: tuple[Domain, ...]) -> None:
        """Reserve C{domains}. @raise Conflict: somebody else has one of them."""
        self._intents = self._intents.claim(app, domains)

    async def admit(
        self,
        app: App,
        replicas: tuple[Replica, ...],
        instead_of: tuple[Replica, ...] = (),
    ) -> None:
        """Route to C{replicas} too, and in the same table not to C{instead_of}."""
        admitted = self._intents.admit(app, replicas)
        gone = [replica.container_id for replica in instead_of]
        await self._change(admitted.retire(gone))

    async def retire(self, replicas: tuple[Replica, ...]) -> None:
        """Send them nothing new; return when every worker has stopped."""
        gone = [replica.container_id for replica in replicas]
        await self._change(self._intents.retire(gone))

    async def drained(
        self, replicas: tuple[Replica, ...], limits: DrainLimits
    ) -> Leftover:
        """Wait until nothing of C{replicas} runs or the limits have passed."""
        left: list[Leftover] = await gatherResults(
            [
                Deferred.fromCoroutine(self._proxy.drain(one.container_id, limits))
                for one in replicas
            ],
            consumeErrors=True,
        )
        return Leftover(
            requests=sum(one.requests for one in left),
            tunnels=sum(one.tunnels for one in left),
        )

    async def park(self, app: AppName, limit_s: float) -> None:
        """Hold new requests of C{app} while nobody serves it."""
        await self._proxy.park(app, limit_s)

    async def unpark(self, app: AppName) -> None:
        """Send held requests on."""
        await self._proxy.unpark(app)

    async def forget(self, app: AppName) -> None:
        """Give up the routes and domains of C{app}."""
        await self._change(self._intents.forget(app))

    # --- what is seen ------------------------------------------------------

    def found_fit(
        self, found: Iterable[tuple[App, Replica, tuple[Replica, ...]]]
    ) -> None:
        """Route, in one table, to each replica of C{found} instead of those beside it.

        For what serves without a deployment; L{admit} is for one that is under way.
        """
        intents = self._intents
        for app, replica, instead_of in found:
            gone = [one.container_id for one in instead_of]
            intents = intents.admit(app, (replica,)).retire(gone)
        self._note(intents)

    def judge(self, container: str, verdict: Verdict) -> None:
        """Eject an unhealthy replica, readmit a healthy one."""
        if verdict is Verdict.UNHEALTHY:
            self._note(self._intents.eject(container))
        elif verdict is Verdict.HEALTHY:
            self._note(self._intents.readmit(container))

    def died(self, container: str) -> None:
        """Drop a container at once: its address may soon be another's (E2)."""
        self._note(self._intents.retire([container]))

    def restore(self, intents: Intents) -> None:
        """Start from the intents of an earlier life."""
        self._note(intents)

    def hold(self) -> None:
        """Publish nothing before L{go_on}: what the proxy serves by now stays.

        For a start that does not know all that was served: a table of what is known
        then would take away the routes of what has no verdict yet.
        """
        self._held = True

    def go_on(self) -> None:
        """Publish, and all that was decided meanwhile."""
        if self._held:
            self._held = False
            self._publish_soon()

    async def published(self) -> None:
        """Return when all that was decided so far is served."""
        if not self._settled:
            waiter: Deferred[None] = Deferred()
            self._waiting.append((self._version, waiter))
            await waiter

    async def stop(self) -> None:
        """Publish nothing more."""
        await self._tasks.stop()

    # --- publishing --------------------------------------------------------

    @property
    def _settled(self) -> bool:
        return not (self._publishing or self._held)

    async def _change(self, intents: Intents) -> None:
        """Return when C{intents} are served, and would be after a crash, too.

        A deployment says what it has done: a haloyd that was killed right after that
        must not come back with the routes of before.
        """
        self._note(intents)
        await self.published()
        await self._kept()

    def _note(self, intents: Intents) -> None:
        if intents == self._intents and self._version:
            return
        self._intents = intents
        self._version += 1
        self._publish_soon()

    def _publish_soon(self) -> None:
        if not (self._publishing or self._held):
            self._publishing = True
            self._tasks.start("publishing routes", self._publish())

    async def _publish(self) -> None:
        try:
            sent = -1
            while sent != self._version and not self._held:
                sent = self._version
                await self._send(self._intents)
                self._release(sent)
        except HaloyError as problem:
            # The proxy is away; it is told everything when it is back.
            self._log.error("routes are not published: {reason}", reason=str(problem))
            self._fail(problem)
        except Exception as problem:
            self._fail(problem)
            raise
        finally:
            self._publishing = False

    async def _send(self, intents: Intents) -> None:
        self._generation += 1
        api = (
            (intents.api_domain, self._api_address)
            if intents.api_domain is not None
            else None
        )
        routed = intents.routed(self._routed, self._earlier)
        self._routed, self._earlier = {one.name: one for one in routed}, intents
        table, conflicts = self._builder.build(self._generation, api, routed)
        for conflict in conflicts:
            self._log.warn(
                "domain {domain} of app {app} is not routed: it belongs to {owner}",
                domain=conflict.domain,
                app=conflict.loser,
                owner=conflict.owner,
            )
        await self._proxy.replace_table(table)
        self._changed(intents)

    def _release(self, version: int) -> None:
        done = [waiter for wanted, waiter in self._waiting if wanted <= version]
        self._waiting = [one for one in self._waiting if one[0] > version]
        for waiter in done:
            waiter.callback(None)

    def _fail(self, problem: Exception) -> None:
        waiting, self._waiting = self._waiting, []
        for _, waiter in waiting:
            waiter.errback(problem)
