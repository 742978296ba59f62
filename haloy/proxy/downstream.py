"""The client's side: one connection, its requests one after the other.

Reads heads, answers what needs no upstream, hands the rest to a driver (a
L{Forwarding}, later perhaps a L{Tunnel}) and takes the connection back when the
answer is complete. Pipelined requests wait for their turn.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from twisted.internet.interfaces import IReadWriteDescriptor
from zope.interface import implementer

from haloy.proxy import forwarded, pages
from haloy.proxy.access_log import TARGET_LIMIT, USER_AGENT_LIMIT, AccessRecord
from haloy.proxy.bulk import STALLED_S
from haloy.proxy.descriptor import READ_BYTES, Descriptor
from haloy.proxy.dispatch import CHALLENGE_PREFIX, Arrival, decide, upgrade_for
from haloy.proxy.exchange import Exchange, TooLarge
from haloy.proxy.fields import BadHead
from haloy.proxy.forwarding import Forwarding
from haloy.proxy.head import (
    HeadReader,
    RequestHead,
    parse_request,
)
from haloy.proxy.tunnel import Tunnel

if TYPE_CHECKING:
    from haloy.proxy.switch import Switch, Target

HEAD_TIMEOUT_S: Final = 10.0
IDLE_TIMEOUT_S: Final = 60.0
LINGER_S: Final = 2.0
LINGER_LIMIT_BYTES: Final = 1048576
_HELD_LIMIT_BYTES: Final = 32768

# What the connection is doing. Plain integers: compared for every segment.
_SHAKING: Final = 0  # TLS handshake
_READING: Final = 1  # between requests, or inside a head
_DRIVEN: Final = 2  # a request is on its way, or a tunnel stands
_FLUSHING: Final = 3  # the answer is not with the kernel yet
_CLOSING: Final = 4  # as above, and nothing comes after it
_LINGERING: Final = 5  # told the end; what still comes is thrown away
_GONE: Final = 6


@implementer(IReadWriteDescriptor)
class Downstream(Descriptor):
    """One client connection.

    @ivar driver: who is asked while a request is on its way.
    @ivar closing: the coming answer is the last one.
    @ivar held: bytes behind what has been taken.
    @ivar bulk: it is inside of a large body with a length.
    """

    __slots__ = (
        "_advancing",
        "_complete",
        "_half_closed",
        "_linger_bytes",
        "_loopback",
        "_peer",
        "_reader",
        "_secure",
        "_server_name",
        "_started_s",
        "_state",
        "_trusted",
        "bulk",
        "closing",
        "driver",
        "held",
        "switch",
    )

    def __init__(
        self, switch: Switch, connection: socket.socket, peer: str, *, secure: bool
    ) -> None:
        """Take an accepted non-blocking socket; C{peer} is an IP literal."""
        super().__init__(switch.reactor, switch.wheel, connection)
        self.switch = switch
        self._peer = peer
        self._secure = secure
        self._trusted = forwarded.trusts(switch.networks, peer)
        self._loopback = peer == "::1" or peer.startswith("127.")
        self._server_name: str | None = None
        self._state: int = _READING
        self._reader: HeadReader | None = None
        self._advancing = False
        self._half_closed = False
        self._complete = False
        self._linger_bytes = 0
        self._started_s = 0.0
        self.driver: Forwarding | Tunnel | None = None
        self.closing = False
        self.bulk = False
        self.held = b""

    def start(self) -> None:
        """Begin to read; the first head has its time from now, handshake included."""
        self.wheel.arm(self, HEAD_TIMEOUT_S)
        self.resume()

    def start_tls(self, tls: ssl.SSLSocket) -> None:
        """As L{start}, with a handshake first."""
        self.socket = tls
        self.tls = tls
        self._state = _SHAKING
        self.start()

    # What the reactor says.

    def doRead(self) -> None:
        """Go on with the handshake, or read."""
        if self._state == _SHAKING:
            self._shake()
        elif self._state == _LINGERING:
            self._throw_away()
        elif not self.bulk or not self._move_bulk():
            super().doRead()

    def _move_bulk(self) -> bool:
        """Let the driver move the bytes of a large body inside the kernel."""
        driver = self.driver
        return isinstance(driver, Forwarding) and driver.client_readable()

    def doWrite(self) -> None:
        """Go on with the handshake, or write."""
        if self._state == _SHAKING:
            self._stop_writing()
            self._shake()
        else:
            super().doWrite()

    def _shake(self) -> None:
        tls = self.tls
        if tls is None:
            return
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLWantWriteError:
            self._start_writing()
            return
        except OSError as error:
            self.switch.handshake_failed(self._peer, error)
            self.drop()
            return
        self._server_name = self.switch.server_name(tls)
        self._state = _READING

    def received(self, data: bytes) -> None:
        """Take bytes, whatever they are part of."""
        state = self._state
        if state == _READING:
            self.held = data
            self._advance()
        elif state == _DRIVEN:
            driver = self.driver
            if isinstance(driver, Tunnel) or (
                driver is not None and driver.awaits_body
            ):
                driver.client_received(data)
            else:
                self.hold(data)
        else:
            self.hold(data)

    def _throw_away(self) -> None:
        """Read what comes after the end, as it is on the wire."""
        try:
            data = socket.socket.recv(self.socket, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._linger_bytes += len(data)
        if not data or self._linger_bytes > LINGER_LIMIT_BYTES:
            self.drop()

    def hold(self, data: bytes) -> None:
        """Keep bytes for later; a client that sends on and on is not read."""
        self.held = self.held + data if self.held else data
        if len(self.held) > _HELD_LIMIT_BYTES:
            self.pause()

    def ended(self) -> None:
        """Note that the client sends nothing more; an answer still reaches it."""
        if self._state == _DRIVEN and self.driver is not None:
            self._half_closed = True
            self.pause()
            self.driver.client_ended()
        elif self._state in (_FLUSHING, _CLOSING):
            self._half_closed = True
            self.pause()
        else:
            self.drop()

    def lost(self) -> None:
        """Tell the driver, and be forgotten."""
        driver = self.driver
        self._state = _GONE
        self.driver = None
        self.held = b""
        self.switch.clients.discard(self)
        if driver is not None:
            driver.client_lost()

    def flushed(self) -> None:
        """Go on with what waited until everything was with the kernel."""
        state = self._state
        if state == _DRIVEN:
            if self.driver is not None:
                self.driver.client_flushed()
        elif state == _FLUSHING:
            self._next()
        elif state == _CLOSING:
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
        state = self._state
        if state == _DRIVEN and self.driver is not None:
            self.driver.expired()
        elif state == _READING and self._reader is not None:
            self._refuse(BadHead(408, "head too slow"))
        elif state in (_FLUSHING, _CLOSING):
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
            while self.held and self._state == _READING:
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

    def _begin(self, block: bytes) -> None:
        """Take a complete head."""
        self._started_s = self.wheel.clock()
        try:
            request = parse_request(block)
        except BadHead as error:
            self._refuse(error)
            return
        switch = self.switch
        switch.requests_total += 1
        if not request.request_id:
            request.request_id = switch.next_request_id()
        secure = self._secure
        if self._trusted and request.forwarded_proto:
            secure = request.forwarded_proto == b"https"
        known = switch.secure_targets if secure else switch.plain_targets
        target = known.get(request.host)
        if (
            target is None
            or request.target.startswith(CHALLENGE_PREFIX)
            or (self._server_name is not None and self._server_name != request.name)
        ):
            target = self._decide(request, secure)
            if target is None:
                return
        self._forward(request, target, secure)

    def _decide(self, request: RequestHead, secure: bool) -> Target | None:
        """Return where to forward to; C{None}: it has been answered."""
        switch = self.switch
        arrival = Arrival(secure, self._server_name, switch.redirects, self._loopback)
        decision = decide(
            request, arrival, switch.table, switch.challenges, switch.public_https
        )
        if isinstance(decision, pages.Page):
            self._answer_at_once(decision, request)
            return None
        return switch.target(decision, request, secure)

    def _forward(self, request: RequestHead, target: Target, secure: bool) -> None:
        upgrade = upgrade_for(request, target.route) if request.upgrade else b""
        if self._trusted:
            client = forwarded.behind(self._peer, secure, request, self.switch.networks)
            chain = client.address.encode() if target.is_api else client.chain
            fields = forwarded.fields(
                chain, client.host, client.proto, request.request_id
            )
        else:
            fields = forwarded.fields(
                self._peer.encode(),
                request.host,
                b"https" if secure else b"http",
                request.request_id,
            )
        self.closing = self.switch.stopping
        try:
            driver = Forwarding(self, target, request, fields, upgrade)
        except TooLarge:
            self._answer_at_once(pages.error(413), request)
            return
        self.driver = driver
        self._state = _DRIVEN
        driver.seek()

    def feed_body(self) -> None:
        """Give the driver what came of the body while there was no upstream."""
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
        close = request.close or not done or self.switch.stopping
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
        self._started_s = self._started_s or self.wheel.clock()
        self.log(request, exchange, None, "done")
        self.send(pages.render(pages.error(error.status), close=True))
        self.finished(keep=False, complete=False)

    def finished(self, *, keep: bool, complete: bool) -> None:
        """Take the next request after a complete answer, or close.

        C{complete}: the request has come completely, too.
        """
        self.driver = None
        self.bulk = False
        self._complete = complete
        if self.gone:
            return
        if self.broken:
            self.drop()
        elif not keep or self.switch.stopping or (self._half_closed and not self.held):
            self.close_after_flush()
        elif self.unsent is None:
            self._next()
        else:
            self._state = _FLUSHING
            self.wheel.arm(self, STALLED_S)

    def _next(self) -> None:
        self._state = _READING
        self._started_s = 0.0
        self.wheel.arm(self, IDLE_TIMEOUT_S)
        if self._half_closed:
            self._advance()
            if self._state == _READING:
                self.close_after_flush()
            return
        self.resume()
        self._advance()

    def close_after_flush(self) -> None:
        """Close when everything is with the kernel."""
        self.driver = None
        if self.gone:
            return
        self._state = _CLOSING
        if self.unsent is None:
            self._linger()
        else:
            self.wheel.arm(self, STALLED_S)

    def _linger(self) -> None:
        """Tell the end and close; before that take what still comes, if it may.

        Closing with unread bytes could cost the client the answer (RFC 9112
        section 9.6).
        """
        self._state = _LINGERING
        self.say_goodbye()
        if (self._complete and not self.held) or self._half_closed or self.broken:
            self.drop()
            return
        self.held = b""
        try:
            socket.socket.shutdown(self.socket, socket.SHUT_WR)
        except OSError:
            self.drop()
            return
        self.wheel.arm(self, LINGER_S)
        self.resume()

    def cut(self, *, reset: bool) -> None:
        """End an answer that cannot be completed, so that the client sees it."""
        self._complete = False
        if reset:
            self.reset_on_close()
            self.drop()
        else:
            self.close_after_flush()

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """Pass bytes from now on."""
        self.driver = tunnel
        self._complete = False
        self.switch.tunnels.add(tunnel)
        held, self.held = self.held, b""
        tunnel.start(held)

    def stop(self) -> None:
        """Take no further request: close now if there is none under way."""
        if self._state in (_READING, _SHAKING) and self._reader is None:
            self.close_after_flush()
        elif isinstance(self.driver, Forwarding):
            self.driver.exchange.closing = True

    def log(
        self,
        request: RequestHead,
        exchange: Exchange,
        forwarding: Forwarding | None,
        outcome: str,
    ) -> None:
        """Write the access record of a request that is over."""
        sink = self.switch.sink
        if sink is None:
            return
        now_s = self.wheel.clock()
        head_at_s = now_s
        app = upstream = ""
        if forwarding is not None:
            app = forwarding.app
            upstream = forwarding.upstream_key
            head_at_s = forwarding.head_at_s or now_s
        client = self._peer
        if self._trusted:
            client = forwarded.behind(
                client, self._secure, request, self.switch.networks
            ).address
        sink(
            AccessRecord(
                request.request_id.decode("ascii"),
                client,
                request.method.decode("ascii"),
                request.name,
                request.target[:TARGET_LIMIT].decode("ascii"),
                "HTTP/1.0" if request.http10 else "HTTP/1.1",
                self._secure,
                exchange.status,
                outcome,
                app,
                upstream,
                exchange.request_bytes,
                exchange.response_bytes,
                head_at_s - self._started_s,
                now_s - self._started_s,
                request.user_agent[:USER_AGENT_LIMIT].decode("latin-1"),
            )
        )
