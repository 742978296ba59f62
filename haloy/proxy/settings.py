"""What a proxy is told when it starts."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from haloy.proxy.crowd import CONNECTIONS_LIMIT
from haloy.proxy.listener import ACCEPT_BATCH, Listen


@frozen
class Settings:
    """How to listen and whom to trust.

    C{http} and C{https}: C{HOST:PORT}, C{:PORT}, C{""} for none, or sockets that
    are bound already. Without an HTTPS listener plain requests are not redirected
    but served: TLS ends in front of us then. C{public_https} is the port in
    redirects, 0: the one that is bound. C{stop_s} limits how long requests under
    way hold up a stop. C{accept_at_once}: how many connections are taken at a time;
    where several workers accept from one socket, few, so that each gets its share.
    C{http2}: whether it is offered, where no other TLS side is given.
    C{connections_per_client}: see L{haloy.proxy.crowd}, 0: any number.
    """

    http: Listen = ":80"
    https: Listen = ":443"
    public_https: int = 0
    trusted_proxies: Sequence[str] = ()
    stop_s: float = 30.0
    accept_at_once: int = ACCEPT_BATCH
    http2: bool = True
    connections_per_client: int = CONNECTIONS_LIMIT
