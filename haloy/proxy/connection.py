"""One client connection as such: its handshake, and how it ends.

What is said on it between is L{haloy.proxy.downstream}.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

from haloy.proxy.descriptor import READ_BYTES, Descriptor
from haloy.proxy.forwarded import client_network
from haloy.proxy.http2.shedding import Held
from haloy.proxy.origin import Origin
from haloy.proxy.splice import Pipe
from haloy.proxy.timer_wheel import STALLED_S
from haloy.proxy.tls.bulk import piece_bytes

if TYPE_CHECKING:
    from haloy.proxy.switch import Switch

HEAD_TIMEOUT_S: Final = 10.0
LINGER_S: Final = 2.0
LINGER_LIMIT_BYTES: Final = 1048576

# What the connection is doing. Plain integers: compared for every segment.
SHAKING: Final = 0  # TLS handshake
READING: Final = 1  # between requests, or inside a head
DRIVEN: Final = 2  # a request is on its way, or a tunnel stands
FLUSHING: Final = 3  # the answer is not with the kernel yet
CLOSING: Final = 4  # as above, and nothing comes after it
LINGERING: Final = 5  # told the end; what still comes is thrown away
GONE: Final = 6


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientConnection(Descriptor):
    """One client connection.

    @ivar origin: what is known of it as the source of requests.
    @ivar state: what it is doing, one of the constants above.
    @ivar held: bytes behind what has been taken.
    @ivar half_closed: the client sends nothing more.
    @ivar complete: the last request has come completely.
    @ivar bulk: it is inside of a body with chunks, or a large one with a length.
    """

    __slots__ = (
        "_linger_bytes",
        "bulk",
        "complete",
        "half_closed",
        "held",
        "origin",
        "paid_s",
        "state",
        "switch",
        "waits_to_read",
    )

    def __init__(
        self, switch: Switch, connection: socket.socket, peer: str, *, secure: bool
    ) -> None:
        """Take an accepted non-blocking socket; C{peer} is an IP literal."""
        super().__init__(switch.reactor, switch.wheel, connection)
        self.switch = switch
        self.origin = Origin(switch, peer, secure=secure)
        self.state: int = READING
        self.held = b""
        self.half_closed = False
        self.complete = False
        self.bulk = False
        # As L{haloy.proxy.http2.reading.Reader} says.
        self.paid_s = 0.0
        self.waits_to_read = False
        self._linger_bytes = 0

    # What subclasses answer to.

    def move_bulk(self) -> bool:
        """Move bytes of a large body inside the kernel; false: read them as usual."""
        raise NotImplementedError

    def stop(self) -> None:
        """Take no further request; close as soon as nothing is under way."""
        raise NotImplementedError

    def retire(self) -> None:
        """Let the client leave for another worker, and lose nothing of it.

        Where a protocol has a word for it, that is a stop.
        """
        self.stop()

    def forget_driver(self) -> None:
        """Learn that the connection ends: whoever drives it does so no longer."""
        raise NotImplementedError

    def stalling(self) -> Iterable[Held]:
        """Return what waits here and may be cut; nothing where one request does."""
        return ()

    @property
    def busy(self) -> bool:
        """Whether an answer is not with the kernel yet."""
        return self.unsent is not None

    @property
    def spliceable(self) -> bool:
        """Whether the kernel may move its bytes: not through TLS."""
        return self.tls is None

    def send_pipe(self, pipe: Pipe) -> None:
        """As L{send} of what is in C{pipe}, by the kernel as far as it takes it."""
        if self.unsent is None and not self.broken:
            # Where that fails, sending what is left fails as well.
            with suppress(OSError):
                pipe.drain(self._fileno)
        self.send(pipe.take())

    def carry(self, source: socket.socket, most_bytes: int) -> int:
        """Send at once, over TLS, what C{source} has of the answer's body.

        See L{haloy.proxy.client.Client.carry}.
        """
        tls = self.tls
        if tls is None or self.unsent is not None or self.broken:
            return 0
        most_bytes = min(most_bytes, piece_bytes(tls))
        piece = self.switch.tls_bulk.fill(source, most_bytes)
        self.send(piece)
        return len(piece)

    def start(self) -> None:
        """Begin to read; the first head has its time from now, handshake included."""
        self.wheel.arm(self, HEAD_TIMEOUT_S)
        self.resume()

    def start_tls(self, tls: ssl.SSLSocket) -> None:
        """As L{start}, with a handshake first."""
        self.socket = tls
        self.tls = tls
        self.state = SHAKING
        self.start()

    def doRead(self) -> None:
        """Go on with the handshake, or read."""
        if self.state == SHAKING:
            self.switch.shaking.go_on(self)
        elif self.state == LINGERING:
            self._throw_away()
        elif not self.bulk or not self.move_bulk():
            Descriptor.doRead(self)

    def doWrite(self) -> None:
        """Go on with the handshake, or write."""
        if self.state == SHAKING:
            self._stop_writing()
            self.shake()
        else:
            super().doWrite()

    @property
    def peer(self) -> str:
        """The client, as far as its address tells."""
        return client_network(self.origin.peer)

    def shake(self) -> None:
        """Go on with the handshake."""
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
            self.switch.handshake_failed(self.origin.peer, error)
            # The alert has to reach the client.
            self._linger()
            return
        self.origin.server_name = self.switch.server_name(tls)
        self.origin.tls = tls.version() or ""
        self.switch.handshakes.finished(resumed=bool(tls.session_reused))
        self.state = READING
        if tls.selected_alpn_protocol() == "h2":
            self.switch.take_over(self)
        else:
            # The first request, or the end, comes close behind the handshake.
            Descriptor.doRead(self)

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

    def close_after_flush(self) -> None:
        """Close when everything is with the kernel."""
        self.forget_driver()
        if self.gone:
            return
        self.state = CLOSING
        if self.unsent is None:
            self._linger()
        else:
            self.wheel.arm(self, STALLED_S)

    def _linger(self) -> None:
        """Tell the end and close; before that take what still comes, if it may.

        Closing with unread bytes could cost the client the answer (RFC 9112
        section 9.6).
        """
        self.state = LINGERING
        self.say_goodbye()
        if (self.complete and not self.held) or self.half_closed or self.broken:
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
        self.complete = False
        if reset:
            self.reset_on_close()
            self.drop()
        else:
            self.close_after_flush()
