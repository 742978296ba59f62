"""One request on its way: finds an upstream, drives the exchange, keeps its times.

Stands between the two connections: the pure machine says what the bytes mean, this
says who waits for whom. Each event is a plain method; nothing here suspends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mypy_extensions import mypyc_attr

from haloy.proxy import pages
from haloy.proxy.body import BODY_PROGRESS_BYTES, CHUNKED, BadBody
from haloy.proxy.body_splice import BodySplice
from haloy.proxy.exchange import (
    AWAITED,
    COMPLETE,
    EFFORT_LIMIT,
    STREAMING,
    UPGRADED,
    BrokenResponse,
    Exchange,
    TooLarge,
)
from haloy.proxy.fields import BadHead
from haloy.proxy.splice import SPLICE_MIN_BYTES
from haloy.proxy.timer_wheel import STALLED_S
from haloy.proxy.tunnel import Tunnel
from haloy.proxy.upstream import UpstreamConnection
from haloy.proxy.upstream_selection import Seeker

if TYPE_CHECKING:
    from haloy.proxy.client import Client
    from haloy.proxy.target import Target


@mypyc_attr(allow_interpreted_subclasses=True)
class Forwarding(Seeker):
    """One request on its way to an upstream and back.

    @ivar stalled: the client's kernel is full; its deadline runs.
    @ivar head_at_s: when the answer's head came, by the exact clock.
    """

    __slots__ = ("_body_from_bytes", "_bulk", "exchange", "head_at_s", "stalled")

    def __init__(
        self,
        client: Client,
        target: Target,
        exchange: Exchange,
        head: bytes,
        *,
        fresh: bool,
    ) -> None:
        """Prepare to send C{head}, the exchange's request, to C{target}.

        C{fresh}: on a new connection only.
        """
        super().__init__(client, target, exchange.request, head, fresh=fresh)
        self.exchange = exchange
        self.stalled = False
        self._bulk: BodySplice | None = None
        # How much of the body had come when its time began.
        self._body_from_bytes = 0
        self.head_at_s = 0.0

    def sent(self) -> None:
        """Wait for the answer, and let the body come."""
        client = self.client
        self.arm_for_request()
        if self.exchange.request_done:
            return
        large = self.exchange.request_left >= SPLICE_MIN_BYTES
        client.bulk = (large and client.spliceable) or self.request.framing == CHUNKED
        client.resume()
        client.feed_body()

    def arm_for_request(self) -> None:
        """Wait for the answer, or as long as the body still comes for more of it."""
        target = self.target
        done = self.exchange.request_done
        self._body_from_bytes = self.exchange.request_bytes
        self.client.wheel.arm(
            self.client, target.response_timeout_s if done else target.body_timeout_s
        )

    def body_moved(self) -> None:
        """As L{arm_for_request}, but of a body that dribbles the time goes on."""
        exchange = self.exchange
        come_bytes = exchange.request_bytes - self._body_from_bytes
        enough = exchange.request_done or come_bytes >= BODY_PROGRESS_BYTES
        if enough or exchange.response != AWAITED:
            self.arm_for_request()

    def body_held_up(self) -> None:
        """Wait for the upstream to take what there is of the body: its fault, now."""
        self.client.pause()
        self.client.wheel.arm(self.client, self.target.response_timeout_s)
        # What comes next begins a new time.
        self._body_from_bytes = -BODY_PROGRESS_BYTES

    # The client's side.

    @property
    def awaits_body(self) -> bool:
        """Whether bytes of the client belong to the request's body right now."""
        upstream = self.upstream
        return (
            not self.exchange.request_done
            and upstream is not None
            and upstream.connected
        )

    def client_received(self, data: bytes) -> None:
        """Pass bytes of the request's body up."""
        upstream = self.upstream
        if upstream is None:
            return
        exchange = self.exchange
        try:
            passed = exchange.take_request(data)
        except TooLarge:
            self.refuse(413)
            return
        except BadBody:
            self.refuse(400)
            return
        upstream.send(passed)
        self.passed_up(upstream)

    def passed_up(self, upstream: UpstreamConnection) -> None:
        """Wait for the answer, or for more of the body if C{upstream} takes it."""
        exchange = self.exchange
        client = self.client
        if exchange.request_done:
            client.hold(exchange.surplus)
            exchange.surplus = b""
            if exchange.response == AWAITED:
                client.wheel.arm(client, self.target.response_timeout_s)
        elif upstream.congested:
            self.body_held_up()
        else:
            self.body_moved()

    def client_ended(self) -> None:
        """Give up inside a body; else it is only noted that nothing more comes."""
        if not self.exchange.request_done:
            self._leave("gone")
            self.client.drop()

    def client_lost(self) -> None:
        """Give up: the client is gone."""
        self._leave("gone")

    def client_flushed(self) -> None:
        """Note that the client has taken everything."""
        if self._bulk is not None and self._bulk.client_flushed():
            return
        self.stalled = False
        if self.exchange.response == STREAMING:
            self.client.wheel.arm(self.client, self.target.stream_idle_s)

    def client_progressed(self) -> None:
        """Note that the client is not stalled."""
        if self.stalled:
            self.client.wheel.arm(self.client, STALLED_S)

    def client_relieved(self) -> None:
        """Read the upstream: the client takes bytes again."""
        if self.upstream is not None:
            self.upstream.resume()

    # The upstream's side.

    def upstream_received(self, data: bytes) -> None:
        """Pass bytes of the answer down."""
        exchange = self.exchange
        client = self.client
        awaited = exchange.response == AWAITED
        try:
            passed = exchange.take_response(data)
        except BadHead as error:
            self._bad_answer(error.reason)
            return
        except BrokenResponse:
            self._cut()
            return
        if passed:
            client.send(passed)
        response = exchange.response
        if awaited and response != AWAITED:
            self.head_at_s = self.switch.wheel.clock()
        upstream = self.upstream
        if upstream is None:
            return
        if exchange.effort > EFFORT_LIMIT:
            upstream.pool.take_turns(self.switch.reading, self.switch.wheel.now_s)
        if response == COMPLETE:
            self.finish(upstream)
        elif response == STREAMING:
            self.streaming(upstream)
            if awaited and exchange.response_left >= SPLICE_MIN_BYTES:
                upstream.bulk = True
        elif response == UPGRADED:
            self._tunnel(upstream)

    def streaming(self, upstream: UpstreamConnection) -> None:
        """Note that more of the answer is on its way, and will come."""
        client = self.client
        if client.unsent is None:
            client.wheel.arm(client, self.target.stream_idle_s)
        elif not self.stalled:
            self.stalled = True
            client.wheel.arm(client, STALLED_S)
        if client.congested:
            upstream.pause()

    def upstream_ended(self) -> None:
        """Take the end of the answer, a dead connection, or a cut."""
        upstream = self.upstream
        if upstream is None:
            return
        try:
            self.client.send(self.exchange.end_response())
        except BadHead as error:
            self._no_answer(upstream, error.reason)
        except BrokenResponse:
            self._cut()
        else:
            self.finish(upstream)

    def upstream_lost(self) -> None:
        """Take a dead connection, or a cut."""
        upstream = self.upstream
        if upstream is not None and self.exchange.response == AWAITED:
            self._no_answer(upstream, "connection reset")
        else:
            self._cut()

    def upstream_flushed(self) -> None:
        """Go on with what waits in the pipe."""
        if self._bulk is not None and self.upstream is not None:
            self._bulk.upstream_flushed(self.upstream)

    def upstream_relieved(self) -> None:
        """Read the client: the upstream takes bytes again."""
        if not self.exchange.request_done:
            self.client.resume()
            self.arm_for_request()

    # Large bodies between plain sockets.

    def upstream_readable(self) -> bool:
        """Move a piece of the answer a short way; false: read it as usual."""
        upstream = self.upstream
        return upstream is not None and self._bulk_moves().from_upstream(upstream)

    def client_readable(self) -> bool:
        """Move a piece of the request inside the kernel; false: read it as usual."""
        upstream = self.upstream
        return upstream is not None and self._bulk_moves().from_client(upstream)

    def _bulk_moves(self) -> BodySplice:
        if self._bulk is None:
            self._bulk = BodySplice(self)
        return self._bulk

    # Ends.

    def expired(self) -> None:
        """Act on a deadline: whose fault it is depends on what was awaited."""
        exchange = self.exchange
        upstream = self.upstream
        if upstream is None:
            # Parked, or in the queue for a connection.
            self.fail(self.target.nobody())
        elif not upstream.connected:
            upstream.discard()
            self.dial_timed_out()
        elif exchange.response != AWAITED:
            self._cut()
        elif exchange.request_done or upstream.congested:
            self.fail(pages.error(504))
        elif self.request.expect and not (
            exchange.request_bytes or exchange.interim_seen
        ):
            # The client waits for 100 and the upstream gave none in all the time.
            self.fail(pages.error(504))
        else:
            self.refuse(408)

    def cut(self) -> None:
        """End now: nothing of it is to wait any more."""
        self._cut()

    def finish(self, upstream: UpstreamConnection) -> None:
        """Let both connections go: the answer is complete."""
        exchange = self.exchange
        pool = upstream.pool
        self.release()
        upstream.bulk = False
        if exchange.keep_upstream and exchange.request_done:
            upstream.give_back(self.switch.wheel.now_s)
        else:
            upstream.user = None
            upstream.drop()
        self._log("done")
        pool.finished()
        self.client.finished(keep=exchange.keep_client, complete=exchange.request_done)

    def _tunnel(self, upstream: UpstreamConnection) -> None:
        client = self.client
        self.over = True
        upstream.pool.tunnelled()
        tunnel = Tunnel(client, upstream, self.target.tunnel_idle_s, self._tunnel_over)
        # What came with the 101 has gone with it.
        tunnel.bytes_out = self.exchange.response_bytes
        upstream.user = tunnel
        client.become_tunnel(tunnel)

    def _tunnel_over(self, tunnel: Tunnel, cleanly: bool) -> None:
        upstream = self.release()
        self.switch.tunnels.discard(tunnel)
        self.exchange.request_bytes = tunnel.bytes_in
        self.exchange.response_bytes = tunnel.bytes_out
        self._log("done" if cleanly else "cut")
        if upstream is not None:
            # Who waits for the drain may look at the log at once.
            upstream.pool.tunnel_finished()
        self.client.close_after_flush()

    def _no_answer(self, upstream: UpstreamConnection, reason: str) -> None:
        """Try once more, or answer 502: there was no answer."""
        if upstream.reused:
            upstream.pool.closed_early(self.switch.wheel.now_s)
        if not self._fresh and self.exchange.may_retry(reused=upstream.reused):
            # It goes out twice at most: an app may refuse streams again and again.
            self._fresh = True
            pool = upstream.pool
            self.release()
            upstream.discard()
            if pool.retired or not self.send_to(pool):
                self.seek()
            pool.finished()
            return
        self._bad_answer(reason)

    def _bad_answer(self, reason: str) -> None:
        self.switch.bad_answer(self.upstream_key, reason)
        if self.exchange.response == AWAITED:
            self.fail(self.target.bad_answer())
        else:
            self._cut()

    def refuse(self, status: int) -> None:
        """Answer to a fault of the client inside its body."""
        if self.exchange.response == AWAITED:
            self.fail(pages.error(status))
        else:
            self._cut()

    def fail(self, page: pages.Page) -> None:
        """Answer with a page of ours; the upstream's connection cannot go on."""
        self._drop_upstream()
        self.exchange.status = page.status
        self._log("done")
        self.client.answer(page, self.request, done=self.exchange.request_done)

    def _cut(self) -> None:
        """End an answer that cannot be completed, so that the client sees it."""
        self._drop_upstream()
        self._log("cut")
        self.client.cut(reset=self.exchange.cut_by_reset)

    def _leave(self, outcome: str) -> None:
        if not self.over:
            self._drop_upstream()
            self._log(outcome)

    def _drop_upstream(self) -> None:
        upstream = self.release()
        self.over = True
        if upstream is not None:
            upstream.discard()
            upstream.pool.finished()
        self.switch.give_up(self)

    def let_go(self) -> None:
        """Let the pipes go: the connection is no longer in use."""
        if self._bulk is not None:
            self._bulk.release()

    def _log(self, outcome: str) -> None:
        self.over = True
        self.client.log(self.request, self.exchange, self, outcome)
