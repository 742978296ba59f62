"""Finding an upstream for a request: whose turn it is, waiting, and trying the next.

Until a connection stands nothing of the request has left us, so any request may be
sent to another replica; what comes after that is L{haloy.proxy.forwarding}.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from haloy.proxy import pages
from haloy.proxy.exchange import IDEMPOTENT_METHODS
from haloy.proxy.head import RequestHead
from haloy.proxy.http2.upstream import Branch
from haloy.proxy.pool import Pool
from haloy.proxy.upstream import UpstreamConnection, User

if TYPE_CHECKING:
    from haloy.proxy.client import Client
    from haloy.proxy.switch import Switch
    from haloy.proxy.target import Target


@mypyc_attr(allow_interpreted_subclasses=True)
class Seeker(User):
    """A request that looks for an upstream.

    @ivar upstream: the connection in use, C{None} while there is none.
    @ivar upstream_key: of the replica that had it last, for the log.
    @ivar over: it has ended and been logged.
    @ivar grpc: it is a call of gRPC: apps that speak HTTP/2 get it over that.
    """

    __slots__ = (
        "_failure",
        "_fresh",
        "_queue",
        "_request_bytes",
        "_timed_out",
        "_tried",
        "client",
        "grpc",
        "over",
        "request",
        "switch",
        "target",
        "upstream",
        "upstream_key",
    )

    def __init__(
        self,
        client: Client,
        target: Target,
        request: RequestHead,
        request_bytes: bytes,
        *,
        fresh: bool,
    ) -> None:
        """Prepare to send C{request_bytes}; C{fresh}: on a new connection only."""
        self.client = client
        self.switch: Switch = client.switch
        self.target = target
        self.request = request
        self._request_bytes = request_bytes
        self._fresh = fresh
        self.upstream: UpstreamConnection | None = None
        self.upstream_key = ""
        self.over = False
        self.grpc = False
        self._queue: Pool | None = None
        self._tried: tuple[str, ...] = ()
        self._failure = ""
        self._timed_out = False

    # What subclasses answer to.

    def sent(self) -> None:
        """Learn that the request is on a connection that stands."""
        raise NotImplementedError

    def fail(self, page: pages.Page) -> None:
        """Answer with C{page}: no upstream takes the request."""
        raise NotImplementedError

    def let_go(self) -> None:
        """Learn that the connection is no longer in use."""
        raise NotImplementedError

    # Finding one.

    def seek(self) -> None:
        """Send the request to the next upstream, or wait, or give up.

        The table may have changed since the request came: the present one counts.
        """
        self.leave_queue()
        while not self.over:
            target = self.target
            if target.epoch != self.switch.epoch:
                target = self.target = self.switch.target_now(self)
            pool = target.only
            if pool is None or self._tried:
                pool = target.pick(self.switch.wheel.now_s, self._tried)
            if self.try_at(pool):
                return

    def try_at(self, pool: Pool | None) -> bool:
        """Send to C{pool}, whose turn it is, or wait; false: another must be tried."""
        if pool is None:
            self._nobody()
            return True
        if pool.full:
            if pool.enqueue(self):
                self._queue = pool
                self.wait(self.target.response_timeout_s)
            else:
                self.fail(pages.unavailable("Too many requests wait."))
            return True
        return self.send_to(pool)

    def wait(self, limit_s: float) -> None:
        """Let nothing happen before an event or the limit."""
        self.client.wheel.arm(self.client, limit_s)

    def leave_queue(self) -> None:
        """Stop waiting for a connection."""
        if self._queue is not None:
            self._queue.waiting.pop(self, None)
            self._queue = None

    def send_to(self, pool: Pool) -> bool:
        """Send the request on a connection of C{pool}; false: it failed at once."""
        now_s = self.switch.wheel.now_s
        upstream = None
        if not self._fresh and not self._by_trunk(pool):
            careful = self.request.method not in IDEMPOTENT_METHODS
            if careful:
                now_s = self.switch.wheel.clock()
            upstream = pool.take_idle(now_s, fresh=careful)
        if upstream is None:
            upstream = self._dial(pool)
            if upstream is None:
                return False
        self.use(upstream)
        pool.began()
        upstream.send(self._request_bytes)
        if upstream.connected:
            self.sent()
        else:
            self.client.wheel.arm(self.client, self.target.connect_timeout_s)
        return True

    def use(self, upstream: UpstreamConnection) -> None:
        """Have C{upstream}, on which the request is, or is about to be, on its way."""
        self.upstream = upstream
        self.upstream_key = upstream.pool.key
        upstream.user = self

    def _dial(self, pool: Pool) -> UpstreamConnection | None:
        try:
            upstream = self._connection(pool)
            reason = upstream.open()
        except OSError as error:
            # Out of descriptors: not the upstream's fault, so nobody is ejected.
            self.switch.exhausted(error)
            self._tried = (*self._tried, pool.key)
            return None
        if not reason:
            return upstream
        upstream.discard()
        self._refused(pool, reason)
        return None

    def _connection(self, pool: Pool) -> UpstreamConnection:
        """Return a new connection, for which idle ones of all apps may have to go."""
        switch = self.switch
        if self._by_trunk(pool):
            return Branch(switch, pool)
        try:
            return UpstreamConnection(switch.reactor, switch.wheel, pool)
        except OSError:
            if not switch.close_idle():
                raise
        return UpstreamConnection(switch.reactor, switch.wheel, pool)

    def _by_trunk(self, pool: Pool) -> bool:
        """Tell whether the request goes to C{pool} over HTTP/2."""
        if pool.h2c:
            return True
        return self.grpc and pool.declined_until <= self.switch.wheel.now_s

    def _refused(self, pool: Pool, reason: str) -> None:
        self._tried = (*self._tried, pool.key)
        self._failure = reason
        self.switch.dial_failed(pool, reason)

    def _nobody(self) -> None:
        """Wait or answer: no upstream is left to try."""
        if not self._tried:
            if self.switch.parking.hold(self, self.switch.wheel.now_s):
                return
            self.fail(self.target.nobody())
        elif self.target.is_api:
            self.fail(self.target.nobody())
        elif self._timed_out:
            self.fail(pages.error(504))
        elif self._failure:
            self.fail(pages.error(502))
        else:
            self.fail(pages.unavailable("The proxy has too many connections."))

    def dial_timed_out(self) -> None:
        """Try the next upstream: this one took no connection in its time."""
        upstream = self.upstream
        if isinstance(upstream, Branch) and upstream.unheard:
            upstream.pool.declined(self.switch.wheel.now_s)
        else:
            self._timed_out = True
        self.upstream_refused("timed out")

    def upstream_connected(self) -> None:
        """Note that the request is under way."""
        if self.upstream is not None:
            self.upstream.pool.answered()
            self.sent()

    def upstream_refused(self, reason: str) -> None:
        """Try the next upstream: nothing was sent yet.

        Or the same one over HTTP/1.1, if all that it refused was HTTP/2.
        """
        upstream = self.release()
        if upstream is not None:
            if not (isinstance(upstream, Branch) and upstream.unheard):
                self._refused(upstream.pool, reason)
            self.seek()
            upstream.pool.finished()

    def release(self) -> UpstreamConnection | None:
        """Forget the connection; the caller tells its pool that it has finished."""
        upstream = self.upstream
        self.upstream = None
        self.let_go()
        return upstream

    @property
    def app(self) -> str:
        """The app's name, for the log."""
        return self.target.app
