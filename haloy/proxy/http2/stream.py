"""One request on an HTTP/2 connection: the client that drivers see.

Stands where an HTTP/1.1 connection stands for its one request: it has the body, it
gets the answer, it has the deadlines. Whatever it sends waits here until the
connection lets it write, and the upstream is not read while too much waits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haloy.proxy import pages
from haloy.proxy.body import LENGTH
from haloy.proxy.exchange import Exchange, TooLarge
from haloy.proxy.fields import BadHead
from haloy.proxy.head import RequestHead, render_request
from haloy.proxy.http2 import frames
from haloy.proxy.http2.control import CALL, ENDED_REQUEST
from haloy.proxy.http2.decoder import HeaderList
from haloy.proxy.http2.exchange import StreamExchange, encode_lines
from haloy.proxy.http2.forwarding import StreamForwarding
from haloy.proxy.http2.head import Malformed, is_call, request_of
from haloy.proxy.http2.hpack import Field, encode_field
from haloy.proxy.http2.outgoing import Outgoing
from haloy.proxy.http2.plan import learn
from haloy.proxy.http2.stream_state import Stream, content_bytes
from haloy.proxy.http2.upstream import Branch
from haloy.proxy.timer_wheel import STALLED_S

if TYPE_CHECKING:
    from haloy.proxy.http2.downstream import Http2Downstream
    from haloy.proxy.origin import Way
    from haloy.proxy.pool import Pool
    from haloy.proxy.target import Target
    from haloy.proxy.tunnel import Tunnel
    from haloy.proxy.upstream import UpstreamConnection


class StreamClient(Outgoing):
    """The client of one request.

    @ivar bulk: what drivers ask for before a body is read; nothing here.
    @ivar was_reset: neither is this: a stream is no socket.
    """

    __slots__ = (
        "_ended",
        "_given_up",
        "_grpc",
        "_owed_bytes",
        "_paused",
        "_started_s",
        "_trailers",
        "bulk",
        "was_reset",
    )

    def __init__(self, connection: Http2Downstream, stream: Stream) -> None:
        super().__init__(connection, stream)
        self.bulk = False
        self.was_reset = False
        self._started_s = self.wheel.clock()
        self._paused = False
        self._owed_bytes = 0
        self._ended = False
        self._given_up = False
        self._grpc = False
        self._trailers: list[Field] = []

    # The request.

    def take(self, fields: HeaderList | None, kind: int) -> None:
        """Take what has come of a request: its head, or all of it, as C{kind} says."""
        self.begin(fields, end=kind == ENDED_REQUEST)
        if kind == CALL:
            self.body_came()
            self.body_ended([])

    def begin(
        self, fields: HeaderList | None, *, end: bool, pool: Pool | None = None
    ) -> None:
        """Take the head; C{None}: it was too long. C{end}: there is no body.

        C{pool}: whose turn it is, if that has been found out.
        """
        self._ended = end
        try:
            request = request_of(fields, end=end)
            if request.framing == LENGTH and not end:
                self._expect(request.length_bytes)
        except Malformed:
            self._refuse(400)
            self.reset(frames.PROTOCOL_ERROR)
            self.connection.blame()
            return
        except BadHead as error:
            self._answer(pages.error(error.status), self._refuse(error.status))
            return
        target = self.connection.origin.target_of(request)
        if isinstance(target, pages.Page):
            self._answer_at_once(target, request)
            return
        try:
            exchange = StreamExchange(
                request,
                extra=target.extra,
                replaced=target.replaced,
                max_body_bytes=target.max_body_bytes,
            )
        except TooLarge:
            self._answer_at_once(pages.error(413), request)
            return
        self._exchange = exchange
        origin = self.connection.origin
        head = render_request(request, b"", origin.fields_for(request, target))
        driver = StreamForwarding(self, target, exchange, head, fresh=False)
        driver.grpc = self._grpc = not target.is_api and is_call(request)
        if target.h2c or self._grpc:
            self.connection.engine.chats(self.stream)
        self.driver = driver
        if fields is not None and (self._grpc or (end and request.method == b"GET")):
            learn(origin, fields, request, target, head)
        if pool is None or not driver.try_at(pool):
            driver.seek()

    def _expect(self, length_bytes: int) -> None:
        """Have the engine count the body, of which some may have come with the head.

        @raise Malformed: what has come is not of that length (RFC 9113 section 8.1.1).
        """
        stream = self.stream
        left = length_bytes - content_bytes(stream)
        if left < 0 or (left and not stream.receiving):
            raise Malformed("a body that is not as long as was told")
        stream.left_bytes = left

    def go_on(
        self,
        request: RequestHead,
        target: Target,
        head: bytes,
        upstream: UpstreamConnection | None,
        started_s: float,
        sent_bytes: int = 0,
    ) -> StreamForwarding:
        """Take over a request that has gone a short way so far, and has ended.

        C{head} is on its way on C{upstream}, if there is one, with C{sent_bytes}.
        """
        self._ended = True
        self._started_s = started_s
        exchange = self._exchange = StreamExchange(
            request,
            extra=target.extra,
            replaced=target.replaced,
            max_body_bytes=target.max_body_bytes,
        )
        exchange.request_bytes = sent_bytes
        exchange.request_done = True
        driver = StreamForwarding(self, target, exchange, head, fresh=False)
        driver.grpc = self._grpc = is_call(request)
        self.driver = driver
        if upstream is not None:
            driver.use(upstream)
        return driver

    def _refuse(self, status: int) -> RequestHead:
        """Log something that is no request; return what stands for it."""
        request = RequestHead(b"", b"", False)
        exchange = StreamExchange(request)
        exchange.status = status
        self.log(request, exchange, None, "done")
        return request

    def _answer_at_once(self, page: pages.Page, request: RequestHead) -> None:
        exchange = StreamExchange(request)
        exchange.status = page.status
        self.log(request, exchange, None, "done")
        self._answer(page, request)

    # The body.

    def body_came(self) -> None:
        """Pass on what has come of the body, if somebody takes it."""
        driver = self.driver
        if driver is None:
            # The answer is complete: the rest is taken and thrown away.
            self._owed_bytes += len(self.connection.engine.take_body(self.stream))
            self._pay()
        elif not self._paused and driver.awaits_body:
            self.feed_body()

    def body_ended(self, trailers: list[Field]) -> None:
        """Note that the client has sent all."""
        self._ended = True
        self._trailers = trailers
        driver = self.driver
        if driver is None:
            if self.gone:
                self._over()
        elif not self.stream.inbox and driver.connected:
            driver.client_completed(trailers)

    def feed_body(self) -> None:
        """Give the driver what has come of the body already."""
        stream, driver = self.stream, self.driver
        if driver is None:
            return
        if stream.inbox:
            pieces = self.connection.engine.take_pieces(stream)
            size = sum([len(piece) for piece in pieces])
            driver.body_came(pieces, size)
            self._owed_bytes += size
            if not self._paused:
                self._pay()
        if self._ended and self.driver is driver and not stream.inbox:
            driver.client_completed(self._trailers)

    def pause(self) -> None:
        """Keep the body for now, and give no credit for more of it."""
        self._paused = True

    def resume(self) -> None:
        """Let it come again: the upstream has taken what there was."""
        self._paused = False
        self._pay()
        driver = self.driver
        if self.stream.inbox and driver is not None and driver.awaits_body:
            self.feed_body()

    def _pay(self) -> None:
        """Give credit for what was taken; it may be all that the client waits for."""
        engine = self.connection.engine
        owed, self._owed_bytes = self._owed_bytes, 0
        engine.credit(self.stream, owed)
        if engine.queued_bytes:
            self.connection.mark()

    def hold(self, data: bytes) -> None:
        """Do nothing: a stream has nothing behind its request."""

    # The answer.

    def answer(self, page: pages.Page, request: RequestHead, *, done: bool) -> None:
        """Answer with a page of ours."""
        self.driver = None
        self._answer(page, request)

    def _answer(self, page: pages.Page, request: RequestHead) -> None:
        without_body = request.method == b"HEAD"
        text = pages.render(
            page, close=False, without_body=without_body, request_id=request.request_id
        )
        head, _, body = text.partition(b"\r\n\r\n")
        status = encode_field(b":status", b"%d" % page.status)
        exchange = self._exchange = self._exchange or StreamExchange(request)
        exchange.trailers = b""
        exchange.heads = [status + encode_lines(head.split(b"\r\n")[1:])]
        self.send(body)
        self.finished(keep=True, complete=self._ended)

    def finished(self, *, keep: bool, complete: bool) -> None:
        """Take the end of a complete answer."""
        self.driver = None
        if self.gone:
            return
        self._finished = True
        # A body that nobody takes any more.
        if self.stream.inbox:
            self.body_came()
        if self._owed_bytes:
            self._pay()
        if not self._write_at_once():
            self.wheel.arm(self, STALLED_S)
            self.connection.has_output(self)

    def cut(self, *, reset: bool) -> None:
        """End an answer that cannot be completed, so that the client sees it.

        What has come of it goes out before, as fast as the client takes it: how much
        that is does not depend on the moment.
        """
        self.driver = None
        exchange = self._exchange
        if self.gone:
            return
        if exchange is None or self._given_up:
            self.reset(frames.CANCEL if self._given_up else frames.INTERNAL_ERROR)
        elif self._grpc:
            # The call ends as one to a server that has gone: it may be tried again.
            exchange.trailers = encode_lines([b"grpc-status: 14"])
            self.finished(keep=True, complete=self._ended)
        elif self._pending or exchange.heads:
            self._cut_short = True
            self.wheel.arm(self, STALLED_S)
            self.connection.has_output(self)
        else:
            self.reset(frames.INTERNAL_ERROR)

    @property
    def held_bytes(self) -> int:
        """How much waits of this request, of either body, on either side."""
        size = self.waits + self._owed_bytes + content_bytes(self.stream)
        upstream = self.driver.upstream if self.driver is not None else None
        if isinstance(upstream, Branch) and upstream.stream is not None:
            size += content_bytes(upstream.stream)
        return size

    def give_up(self) -> None:
        """End a request whose client, or app, takes nothing, with all that waits."""
        self._given_up = True
        if self.driver is not None:
            self.driver.cut()
        else:
            self.reset(frames.CANCEL)
        self.connection.count_held()

    def reset(self, code: int) -> None:
        """End the stream now."""
        self._discard()
        self.connection.engine.reset(self.stream, code)
        self.connection.mark()

    def _discard(self) -> None:
        self.gone = True
        self._pending.clear()
        self._forget(self.waits)
        self._pay()
        self.connection.forget(self)
        self._over()

    # Other ends.

    def lost(self) -> None:
        """Learn that the client has taken the request back, or is gone."""
        driver, self.driver = self.driver, None
        self._discard()
        if driver is not None:
            driver.client_lost()

    def expired(self) -> None:
        """Act on a deadline."""
        driver = self.driver
        if driver is not None:
            # A client that takes nothing would not take the rest either.
            self._given_up = driver.stalled
            driver.expired()
        else:
            # The rest of an upload whose answer is given is no fault.
            self.reset(frames.NO_ERROR if self.gone else frames.CANCEL)

    # What only whole connections can do.

    @property
    def spliceable(self) -> bool:
        """Never: its bytes are inside frames."""
        return False

    def fileno(self) -> int:
        """Return no number."""
        return -1

    def call_when_writable(self) -> None:
        """Do nothing: only asked of who is spliceable."""

    def ended(self) -> None:
        """Do nothing: the end comes from the engine."""

    def half_close(self) -> bool:
        """Not be able to: there are no tunnels."""
        return False

    def close_after_flush(self) -> None:
        """End the stream: there are no tunnels."""
        self.drop()

    def drop(self) -> None:
        """End now."""
        self.driver = None
        if not self.gone:
            self.reset(frames.CANCEL)

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """End: nobody asks for an upgrade here."""
        self.drop()

    def log(
        self,
        request: RequestHead,
        exchange: Exchange,
        forwarding: Way | None,
        outcome: str,
    ) -> None:
        """Write the access record of a request that is over."""
        self.connection.origin.log(
            request, exchange, forwarding, outcome, self._started_s
        )
