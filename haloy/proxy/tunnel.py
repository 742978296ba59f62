"""A tunnel: an exchange after its 101. Bytes both ways, until both ways have ended.

Each direction ends by itself: the end of one side is told to the other after the
last byte, on TLS too, and the opposite direction goes on (RFC 9110 section 7.8
leaves the connection to the new protocol). How bytes are moved where there are many is
in L{haloy.proxy.tunnel_splice}.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from haloy.proxy.tunnel_splice import COPY, LARGE_BYTES, TunnelSplice
from haloy.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from haloy.proxy.client import Client

# How long the second direction may be silent after the first one has ended.
HALF_CLOSED_IDLE_S: Final = 300.0


class Tunnel:
    """The two ends of one upgraded connection.

    C{on_end} is called once, with the tunnel and whether both directions ended in
    order.
    """

    __slots__ = (
        "_armed_s",
        "_client",
        "_client_ended",
        "_client_told",
        "_down",
        "_idle_s",
        "_on_end",
        "_over",
        "_up",
        "_upstream",
        "_upstream_ended",
        "_upstream_told",
        "_wheel",
        "bytes_in",
        "bytes_out",
    )

    def __init__(
        self,
        client: Client,
        upstream: UpstreamConnection,
        idle_s: float,
        on_end: Callable[[Tunnel, bool], None],
    ) -> None:
        self._client = client
        self._upstream = upstream
        self._up = TunnelSplice(client, upstream)
        self._down = TunnelSplice(upstream, client)
        self._idle_s = idle_s
        self._wheel = client.wheel
        self._armed_s = 0.0
        self._on_end = on_end
        self._client_ended = False
        self._client_told = False
        self._upstream_ended = False
        self._upstream_told = False
        self._over = False
        self.bytes_in = 0
        self.bytes_out = 0

    def start(self, early: bytes) -> None:
        """Begin with what the client sent before the tunnel stood."""
        self._upstream.notice_loss()
        self._arm()
        self._client.resume()
        if early:
            self.client_received(early)

    def client_received(self, data: bytes) -> None:
        """Pass bytes up."""
        size = len(data)
        self.bytes_in += size
        if size >= LARGE_BYTES:
            self._up.was_large()
        upstream = self._upstream
        upstream.send(data)
        if upstream.congested:
            self._client.pause()
        if self._wheel.now_s != self._armed_s:
            self._arm()

    def upstream_received(self, data: bytes) -> None:
        """Pass bytes down."""
        size = len(data)
        self.bytes_out += size
        if size >= LARGE_BYTES:
            self._down.was_large()
        client = self._client
        client.send(data)
        if client.congested:
            self._upstream.pause()
        if self._wheel.now_s != self._armed_s:
            self._arm()

    def client_readable(self) -> bool:
        """Move what has come up inside the kernel; false: read it as usual."""
        moved = self._up.move()
        if moved > 0:
            self.bytes_in += moved
            self._arm()
        return moved != COPY

    def upstream_readable(self) -> bool:
        """Move what has come down inside the kernel; false: read it as usual."""
        moved = self._down.move()
        if moved > 0:
            self.bytes_out += moved
            self._arm()
        return moved != COPY

    def _drain(self, passage: TunnelSplice) -> bool:
        """Go on with what waits in a pipe; tell whether nothing waits any more."""
        if passage.drain():
            self._arm()
        return not passage.waits

    def client_ended(self) -> None:
        """Tell the upstream as soon as it has everything."""
        self._client_ended = True
        self._client.pause()
        self._shorten()
        if self._upstream.unsent is None:
            self.upstream_flushed()

    def upstream_ended(self) -> None:
        """Tell the client as soon as it has everything."""
        self._upstream_ended = True
        if self._upstream.broken:
            self._end(cleanly=False)
            return
        self._upstream.pause()
        self._shorten()
        if self._client.unsent is None:
            self.client_flushed()

    def upstream_flushed(self) -> None:
        """Go on with what waits, or hand on the end of the client, if it has come."""
        if self._up.waits and not self._drain(self._up):
            return
        if self._up.moving and not self._client_ended:
            self._client.resume()
        if self._client_ended and not self._upstream_told and not self._over:
            self._upstream_told = True
            if not self._upstream.half_close():
                self._end(cleanly=False)
            elif self._client_told:
                self._end(cleanly=True)

    def client_flushed(self) -> None:
        """Go on with what waits, or hand on the end of the upstream, if it has come."""
        if self._down.waits and not self._drain(self._down):
            return
        if self._down.moving and not self._upstream_ended:
            self._upstream.resume()
        if self._upstream_ended and not self._client_told and not self._over:
            self._client_told = True
            if not self._client.half_close():
                self._end(cleanly=False)
            elif self._upstream_told:
                self._end(cleanly=True)

    def upstream_relieved(self) -> None:
        """Read the client: the upstream takes bytes again, or none any more."""
        if self._upstream_ended and self._upstream.broken:
            self._end(cleanly=False)
        elif not self._client_ended:
            self._client.resume()

    def client_relieved(self) -> None:
        """Read the upstream: the client takes bytes again."""
        if not self._upstream_ended:
            self._upstream.resume()

    def client_progressed(self) -> None:
        """Note that the client is not stalled."""
        self._arm()

    def client_lost(self) -> None:
        """End: nobody is left to pass anything to."""
        self._end(cleanly=False)

    def upstream_lost(self) -> None:
        """Let the client have what came, then close."""
        self._end(cleanly=False)

    def upstream_connected(self) -> None:
        """Do nothing: a tunnel begins connected."""

    def upstream_refused(self, reason: str) -> None:
        """Do nothing: a tunnel begins connected."""

    def expired(self) -> None:
        """End: nothing has moved for too long."""
        self._end(cleanly=False)

    def cut(self) -> None:
        """End now: the proxy stops."""
        self._end(cleanly=False)

    def _arm(self) -> None:
        """Begin the idle time anew. Within one tick of the wheel, once is enough."""
        self._armed_s = self._wheel.now_s
        self._wheel.arm(self._client, self._idle_s)

    def _shorten(self) -> None:
        self._idle_s = min(self._idle_s, HALF_CLOSED_IDLE_S)
        self._arm()

    def _end(self, *, cleanly: bool) -> None:
        if self._over:
            return
        self._over = True
        self._client.bulk = False
        self._up.close()
        self._client.send(self._down.take())
        self._upstream.discard()
        self._on_end(self, cleanly)
