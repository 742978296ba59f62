"""The client's side as drivers see it: one request's way back.

L{haloy.proxy.downstream.Downstream} is one for HTTP/1.1; a stream of HTTP/2 is
another. Drivers (C{Forwarding}, C{Tunnel}, C{BodySplice}) know nothing else of clients.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Protocol

from haloy.proxy.exchange import Exchange
from haloy.proxy.head import RequestHead
from haloy.proxy.pages import Page
from haloy.proxy.timer_wheel import Timed, TimerWheel
from haloy.proxy.tunnel_splice import End

if TYPE_CHECKING:
    from haloy.proxy.origin import Way
    from haloy.proxy.switch import Switch
    from haloy.proxy.tunnel import Tunnel


class Client(Timed, End, Protocol):
    """Who gets the answer, and whose body goes up.

    A driver arms the wheel with the client and is told of the deadline by the
    client's C{expired}. What it sends is what its C{exchange} made of the
    upstream's bytes; who gives it another C{Exchange} gets other bytes.
    """

    switch: Switch
    wheel: TimerWheel

    def carry(self, source: socket.socket, most_bytes: int) -> int:
        """Send at once what C{source} has of the answer's body.

        @return: how much that was; 0: it has to be read as usual.
        @raise OSError: C{source} has nothing, or is broken.
        """

    def feed_body(self) -> None:
        """Give the driver what has come of the body already."""

    def hold(self, data: bytes) -> None:
        """Take back what came behind the request."""

    def ended(self) -> None:
        """Take the end of what the client sends, found by the driver."""

    def half_close(self) -> bool:
        """Say that nothing more comes; false: it cannot be told."""

    def answer(self, page: Page, request: RequestHead, *, done: bool) -> None:
        """Answer with a page of ours; C{done}: the request has come completely."""

    def finished(self, *, keep: bool, complete: bool) -> None:
        """Take the end of a complete answer."""

    def cut(self, *, reset: bool) -> None:
        """End an answer that cannot be completed, so that the client sees it."""

    def close_after_flush(self) -> None:
        """Take the end of a tunnel."""

    def become_tunnel(self, tunnel: Tunnel) -> None:
        """Be driven by C{tunnel} from now on."""

    def log(
        self,
        request: RequestHead,
        exchange: Exchange,
        forwarding: Way | None,
        outcome: str,
    ) -> None:
        """Write the access record of a request that is over."""
