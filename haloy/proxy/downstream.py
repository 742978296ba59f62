"""The client's side: one connection, its requests one after the other.

Reads heads, answers what needs no upstream, hands the rest to a driver (a
L{Forwarding}, later perhaps a L{Tunnel}) and takes the connection back when the
answer is complete. Pipelined requests wait for their turn.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from haloy.proxy import pages
from haloy.proxy.body import CHUNKED
from haloy.proxy.connection import (
    CLOSING,
    DRIVEN,
    FLUSHING,
    GONE,
    HEAD_TIMEOUT_S,
    READING,
    SHAKING,
)
from haloy.proxy.exchange import Exchange, TooLarge
from haloy.proxy.fast_path import Http1FastRequest
from haloy.proxy.fields import BadHead
from haloy.proxy.forwarding import Forwarding
from haloy.proxy.head import (
    HeadReader,
    RequestHead,
    render_request,
)
from haloy.proxy.origin import Way, upgrade_of
from haloy.proxy.timer_wheel import STALLED_S
from haloy.proxy.tunnel import Tunnel
from haloy.proxy.upload_turns import UploadTurns

if TYPE_CHECKING:
    from haloy.proxy.switch import Switch
    from haloy.proxy.target import Target

IDLE_TIMEOUT_S: Final = 60.0
_HELD_LIMIT_BYTES: Final = 32768


@mypyc_attr(allow_interpreted_subclasses=True)
class Downstream(UploadTurns):
    """One client connection.

    @ivar driver: who is asked while a request is on its way.
    @ivar closing: the coming answer is the last one.
    @ivar started_s: when the head was complete, by the exact clock; 0: none is.
    """

    __slots__ = (
        "_advancing",
        "_fast_request",
        "_reader",
        "closing",
        "driver",
        "started_s",
    )

    def __init__(
        self, switch: Switch, connection: socket.socket, peer: str, *, secure: bool
    ) -> None:
        """Take an accepted non-blocking socket; C{peer} is an IP literal."""
        super().__init__(switch, connection, peer, secure=secure)
        self._reader: HeadReader | None = None
        self._fast_request: Http1FastRequest | None = None
        self._advancing = False
        self.started_s = 0.0
        self.driver: Forwarding | Tunnel | Http1FastRequest | None = None
        self.closing = False

    # What the reactor says.

    def move_bulk(self) -> bool:
        """Let the driver move them; chunks are read when it is their turn."""
        if self.uploads_chunks:
            self.read_chunks()
            return True
        driver = self.driver
        return isinstance(driver, (Forwarding, Tunnel)) and driver.client_readable()

    def forget_driver(self) -> None:
        """Have no driver any more."""
        self.driver = None

    def received(self, data: bytes) -> None:
        """Take bytes, whatever they are part of."""
        state = self.state
        if state == READING:
            if self._reader is not None or not self._known_way(data):
                self.held = data
                self._advance()
        elif state == DRIVEN:
            driver = self.driver
            if isinstance(driver, Tunnel) or (
                isinstance(driver, Forwarding) and driver.awaits_body and not self.held
            ):
                driver.client_received(data)
            else:
                self.hold(data)
        else:
            self.hold(data)

    def _known_way(self, data: bytes) -> bool:
        """Send on what is like a request before, of this client's connections.

        Its first one included: who comes back asks as it did. False: nothing is done.
        """
        fast_request = self._fast_request
        if fast_request is None:
            origin = self.origin
            # What was learned of a peer that is trusted by now holds no longer.
            if origin.trusted or not origin.fast_paths.plans:
                return False
            fast_request = self._short_way()
        return fast_request.take(data)

    def _short_way(self) -> Http1FastRequest:
        fast_request = self._fast_request
        if fast_request is None:
            fast_request = Http1FastRequest(self, self.origin.fast_paths)
            self._fast_request = fast_request
        return fast_request

    def hold(self, data: bytes) -> None:
        """Keep bytes for later; a client that sends on and on is not read."""
        self.held = self.held + data if self.held else data
        if len(self.held) > _HELD_LIMIT_BYTES:
            self.pause()

    def ended(self) -> None:
        """Note that the client sends nothing more; an answer still reaches it."""
        if self.state == DRIVEN and self.driver is not None:
            self.half_closed = True
            self.pause()
            self.driver.client_ended()
        elif self.state in (FLUSHING, CLOSING):
            self.half_closed = True
            self.pause()
        else:
            self.drop()

    def lost(self) -> None:
        """Tell the driver, and be forgotten."""
        driver = self.driver
        self.state = GONE
        self.driver = None
        self._fast_request = None  # they know each other
        self.held = b""
        self.switch.forget(self)
        if driver is not None:
            driver.client_lost()

    def flushed(self) -> None:
        """Go on with what waited until everything was with the kernel."""
        state = self.state
        if state == DRIVEN:
            if self.driver is not None:
                self.driver.client_flushed()
        elif state == FLUSHING:
            self._next()
        elif state == CLOSING:
            self._linger()

    def relieved(self) -> None:
        """Pass on that the client takes bytes again."""
        if self.driver is not None:
            self.driver.client_relieved()

    def progressed(self) -> None:
        """Pass on that the client has taken something: it is not stalled."""
        if self.driver is not None:
            self.driver.client_progressed()
        else:
            self.wheel.arm(self, STALLED_S)

    def expired(self) -> None:
        """Act on a deadline that has passed."""
        state = self.state
        if state == DRIVEN and self.driver is not None:
            self.driver.expired()
        elif state == READING and self._reader is not None:
            self._refuse(BadHead(408, "head too slow"))
        elif state in (FLUSHING, CLOSING):
            self.reset_on_close()
            self.drop()
        else:
            self.drop()

    # Requests.

    def _advance(self) -> None:
        """Take one head after the other from what is held, without recursion."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self.held and self.state == READING:
                data, self.held = self.held, b""
                self._take(data)
        finally:
            self._advancing = False

    def _take(self, data: bytes) -> None:
        reader = self._reader
        if reader is None:
            end = data.find(b"\r\n\r\n")
            if 0 < end < 16384 and data[:2] != b"\r\n":
                rest = end + 4
                if rest != len(data):
                    self.held = data[rest:]
                self._begin(data[:end])
                return
            reader = self._reader = HeadReader(of_requests=True)
            self.wheel.arm(self, HEAD_TIMEOUT_S)
        try:
            block = reader.take(data)
        except BadHead as error:
            self._refuse(error)
            return
        if block is not None:
            self._reader = None
            self.held = reader.rest
            self._begin(block)

    def set_off(self, fast_request: Http1FastRequest) -> None:
        """Let C{fast_request} have the connection until the answer is complete."""
        self.closing = False
        self.driver = fast_request
        self.state = DRIVEN

    def _begin(self, block: bytes) -> None:
        """Take a complete head."""
        self.started_s = self.wheel.clock()
        try:
            request = self.switch.heads.parse(self.origin.peer, block)
        except BadHead as error:
            self._refuse(error)
            return
        # What a client calls its request is no part of what is alike.
        nameless = not request.request_id and not request.traceparent
        target = self.origin.target_of(request)
        if isinstance(target, pages.Page):
            self._answer_at_once(target, request)
        else:
            self._forward(request, target, block if nameless else b"")

    def _forward(self, request: RequestHead, target: Target, block: bytes) -> None:
        """Send it to C{target}; learn how, if C{block} may come again."""
        origin = self.origin
        upgrade = upgrade_of(request, target)
        fields = origin.fields_for(request, target)
        head = render_request(request, upgrade, fields)
        self.closing = self.switch.retiring
        if block and origin.is_usual(request, target):
            paths = origin.fast_paths
            plan = paths.learn_plan(origin.peer, block, request, target, head)
            if plan is not None and not self.closing:
                self._short_way().follow(plan, request, head)
                return
        try:
            exchange = Exchange(
                request,
                upgrade=upgrade,
                extra=target.extra,
                replaced=target.replaced,
                max_body_bytes=target.max_body_bytes,
                closing=self.closing,
            )
        except TooLarge:
            self._answer_at_once(pages.error(413), request)
            return
        driver = Forwarding(self, target, exchange, head, fresh=bool(upgrade))
        self.driver = driver
        self.state = DRIVEN
        driver.seek()

    @property
    def uploads_chunks(self) -> bool:
        """Whether what comes is chunks of a body that an app takes."""
        driver = self.driver
        return (
            isinstance(driver, Forwarding)
            and driver.request.framing == CHUNKED
            and driver.awaits_body
        )

    def feed(self) -> None:
        """Give on what of the body is held."""
        held = self.held
        driver = self.driver
        if held and isinstance(driver, Forwarding) and driver.awaits_body:
            self.held = b""
            driver.client_received(held)

    # Answers.

    def _answer_at_once(self, page: pages.Page, request: RequestHead) -> None:
        exchange = Exchange(request)
        exchange.status = page.status
        self.log(request, exchange, None, "done")
        self.answer(page, request, done=exchange.request_done)

    def answer(self, page: pages.Page, request: RequestHead, *, done: bool) -> None:
        """Answer with a page of ours; C{done}: the request has come completely."""
        close = request.close or not done or self.switch.retiring
        self.send(
            pages.render(
                page,
                close=close,
                keep_alive=request.http10,
                without_body=request.method == b"HEAD",
                request_id=request.request_id,
            )
        )
        self.finished(keep=not close, complete=done)

    def _refuse(self, error: BadHead) -> None:
        """Answer to something that is no request."""
        request = RequestHead(b"", b"", False)
        exchange = Exchange(request)
        exchange.status = error.status
        self.started_s = self.started_s or self.wheel.clock()
        self.log(request, exchange, None, "done")
        self.send(pages.render(pages.error(error.status), close=True))
        self.finished(keep=False, complete=False)

    def finished(self, *, keep: bool, complete: bool) -> None:
        """Take the next request after a complete answer, or close.

        C{complete}: the request has come completely, too.
        """
        self.driver = None
        self.bulk = False
        self.complete = complete
        if self.gone:
            return
        if self.broken:
            self.drop()
        elif not keep or self.switch.stopping or (self.half_closed and not self.held):
            self.close_after_flush()
        elif self.unsent is None:
            self._next()
        else:
            self.state = FLUSHING
            self.wheel.arm(self, STALLED_S)

    def _next(self) -> None:
        self.state = READING
        self.started_s = 0.0
        self.wheel.arm(self, IDLE_TIMEOUT_S)
        if self.half_closed:
            self._advance()
            if self.state == READING:
                self.close_after_flush()
            return
        self.resume()
        if self.held:
            self._advance()

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """Pass bytes from now on."""
        self.driver = tunnel
        self.complete = False
        self.switch.tunnels.add(tunnel)
        held, self.held = self.held, b""
        tunnel.start(held)

    def stop(self) -> None:
        """Take no further request: close now if there is none under way."""
        if self.state in (READING, SHAKING) and self._reader is None:
            self.close_after_flush()
        else:
            self.retire()

    def retire(self) -> None:
        """Say that the answer under way is the last one, if that can still be said."""
        driver = self.driver
        if isinstance(driver, Http1FastRequest):
            driver = driver.general()
        if isinstance(driver, Forwarding):
            driver.exchange.closing = True

    def log(
        self,
        request: RequestHead,
        exchange: Exchange,
        forwarding: Way | None,
        outcome: str,
    ) -> None:
        """Write the access record of a request that is over."""
        self.origin.log(request, exchange, forwarding, outcome, self.started_s)
