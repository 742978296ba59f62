"""The large bodies of one exchange, moved between plain sockets inside the kernel.

Used by L{haloy.proxy.forwarding} where much is still to come of a body with a length.
What goes down to a client over TLS goes through L{haloy.proxy.tls.bulk} instead;
everything else is read and sent as usual. So is what is
next when nothing can be moved: the end, or an urgent byte (C{MSG_OOB}), of which the
kernel says the same, and behind which the body goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haloy.proxy.exchange import COMPLETE
from haloy.proxy.splice import SPLICE_MIN_BYTES, Pipe, any_pipe
from haloy.proxy.timer_wheel import STALLED_S
from haloy.proxy.tls.bulk import CARRIED_REST_BYTES
from haloy.proxy.upstream import UpstreamConnection

if TYPE_CHECKING:
    from haloy.proxy.forwarding import Forwarding


class BodySplice:
    """The pipes of one exchange, one for each direction that needs one."""

    __slots__ = ("_down", "_forwarding", "_up")

    def __init__(self, forwarding: Forwarding) -> None:
        self._forwarding = forwarding
        self._down: Pipe | None = None
        self._up: Pipe | None = None

    def from_upstream(self, upstream: UpstreamConnection) -> bool:
        """Move a piece of the answer's body; false: it has to be read as usual."""
        client = self._forwarding.client
        exchange = self._forwarding.exchange
        if not client.spliceable:
            return self._carry_down(upstream)
        if client.unsent is not None or exchange.response_left < SPLICE_MIN_BYTES:
            return False
        pipe = self._down = self._down or any_pipe()
        if pipe is None:
            return False
        try:
            moved = pipe.fill(upstream.fileno(), exchange.response_left - pipe.inside)
        except BlockingIOError:
            moved = 0
        except OSError:
            upstream.drop()
            return True
        if moved:
            self._drain_down(pipe, upstream)
        return pipe.inside > 0 or moved > 0

    def _carry_down(self, upstream: UpstreamConnection) -> bool:
        forwarding = self._forwarding
        exchange = forwarding.exchange
        most_bytes = exchange.response_left - CARRIED_REST_BYTES
        if most_bytes <= 0:
            return False
        try:
            carried = forwarding.client.carry(upstream.socket, most_bytes)
        except BlockingIOError:
            return False
        except OSError:
            upstream.drop()
            return True
        if carried:
            exchange.skip_response(carried)
            forwarding.streaming(upstream)
        return carried > 0

    def client_flushed(self) -> bool:
        """Go on with what waits for the client; false: nothing does."""
        pipe = self._down
        upstream = self._forwarding.upstream
        if pipe is None or not pipe.inside or upstream is None:
            return False
        self._drain_down(pipe, upstream)
        return True

    def _drain_down(self, pipe: Pipe, upstream: UpstreamConnection) -> None:
        forwarding = self._forwarding
        client = forwarding.client
        exchange = forwarding.exchange
        try:
            moved = pipe.drain(client.fileno())
        except OSError:
            client.drop()
            return
        exchange.skip_response(moved)
        if pipe.inside:
            upstream.pause()
            client.call_when_writable()
            if moved or not forwarding.stalled:
                forwarding.stalled = True
                client.wheel.arm(client, STALLED_S)
            return
        forwarding.stalled = False
        if exchange.response == COMPLETE:
            forwarding.finish(upstream)
        else:
            client.wheel.arm(client, forwarding.target.stream_idle_s)
            upstream.resume()

    def from_client(self, upstream: UpstreamConnection) -> bool:
        """Move a piece of the request's body; false: it has to be read as usual."""
        exchange = self._forwarding.exchange
        client = self._forwarding.client
        if (
            upstream.unsent is not None
            or upstream.broken
            or exchange.request_left < SPLICE_MIN_BYTES
        ):
            return False
        pipe = self._up = self._up or any_pipe()
        if pipe is None:
            return False
        try:
            moved = pipe.fill(client.fileno(), exchange.request_left - pipe.inside)
        except BlockingIOError:
            moved = 0
        except OSError:
            client.drop()
            return True
        if moved:
            self._drain_up(pipe, upstream)
        return pipe.inside > 0 or moved > 0

    def upstream_flushed(self, upstream: UpstreamConnection) -> None:
        """Go on with what waits for the upstream."""
        if self._up is not None and self._up.inside:
            self._drain_up(self._up, upstream)

    def _drain_up(self, pipe: Pipe, upstream: UpstreamConnection) -> None:
        forwarding = self._forwarding
        client = forwarding.client
        exchange = forwarding.exchange
        try:
            moved = pipe.drain(upstream.fileno())
        except OSError as error:
            # An early answer may be there: throw the body away, go on reading both.
            upstream.broken = True
            upstream.was_reset |= isinstance(error, ConnectionResetError)
            moved, pipe.inside = pipe.inside, 0
            self._up = None
            pipe.close()
        exchange.skip_request(moved)
        if pipe.inside:
            upstream.call_when_writable()
            forwarding.body_held_up()
            return
        forwarding.body_moved()
        client.resume()

    def release(self) -> None:
        """Let the pipes go."""
        for pipe in (self._down, self._up):
            if pipe is not None:
                pipe.release()
        self._down = self._up = None
