"""A request of HTTP/2 on its way to an upstream and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from haloy.proxy.exchange import AWAITED, TooLarge
from haloy.proxy.forwarding import Forwarding
from haloy.proxy.http2.exchange import StreamExchange
from haloy.proxy.http2.hpack import Field
from haloy.proxy.http2.shedding import ROOM_BYTES
from haloy.proxy.http2.stream_state import Piece
from haloy.proxy.http2.upstream import Branch
from haloy.proxy.timer_wheel import TICK_S

if TYPE_CHECKING:
    from haloy.proxy.http2.stream import StreamClient


class StreamForwarding(Forwarding):
    """As L{Forwarding}, for a client whose body ends by itself.

    Of a call of gRPC silence has no limit but that of a tunnel, as a call has its own
    deadline and may wait for either side.
    """

    __slots__ = ()

    def arm_for_request(self) -> None:
        """Wait for the answer; of a call, as long as for a tunnel."""
        if self.grpc:
            self._arm_for_call()
        else:
            super().arm_for_request()

    def body_came(self, pieces: list[Piece], size_bytes: int) -> None:
        """Pass a part of the request's body up, where it is, and keep nothing of it."""
        exchange = cast(StreamExchange, self.exchange)
        upstream = self.upstream
        if upstream is None:
            return
        due_s = self.client.due_s
        try:
            passed = exchange.take_pieces(pieces, size_bytes)
        except TooLarge:
            self.refuse(413)
            return
        upstream.send_all(passed)
        self.passed_up(upstream)
        if self.stalled:
            # Who talks on and takes no answer is stalled all the same.
            wheel = self.client.wheel
            wheel.arm(self.client, max(0.0, due_s - wheel.now_s - TICK_S))
        elif self.grpc:
            self._arm_for_call()

    def _arm_for_call(self) -> None:
        self.client.wheel.arm(self.client, self.target.stream_idle_s)

    @property
    def connected(self) -> bool:
        """Whether the upstream's connection stands."""
        return self.upstream is not None and self.upstream.connected

    def client_completed(self, trailers: list[Field]) -> None:
        """Pass on the end of the request's body."""
        exchange = cast(StreamExchange, self.exchange)
        upstream = self.upstream
        if exchange.request_done or upstream is None:
            return
        upstream.send(exchange.end_request(trailers))
        if exchange.response == AWAITED:
            self.arm_for_request()

    def upstream_received(self, data: bytes) -> None:
        """Pass bytes of the answer down, and heads without any."""
        switch = self.switch
        upstream = self.upstream
        if switch.waits > ROOM_BYTES and not isinstance(upstream, Branch):
            # Of a branch its trunk has seen to it.
            switch.shedding.make_room()
            if self.upstream is not upstream:
                return
        client = cast("StreamClient", self.client)
        exchange = cast(StreamExchange, self.exchange)
        super().upstream_received(data)
        if exchange.heads and client.unsent is None and not client.gone:
            client.heads_came()
