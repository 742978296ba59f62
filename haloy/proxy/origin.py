"""Where requests come from: what is known of a connection, and what follows from it.

The same for every protocol that clients speak: whom a request is for, what the app
is told about its client, what is logged. Knows heads and routes, no sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mypy_extensions import mypyc_attr

from haloy.proxy import forwarded, pages
from haloy.proxy.access_log import visit_by
from haloy.proxy.dispatch import CHALLENGE_PREFIX, Arrival, decide, upgrade_for
from haloy.proxy.exchange import Exchange
from haloy.proxy.head import RequestHead

if TYPE_CHECKING:
    from haloy.proxy.switch import Switch
    from haloy.proxy.target import Target


class Way(Protocol):
    """What the log says of the way of a request: C{Forwarding}."""

    upstream_key: str
    head_at_s: float

    @property
    def app(self) -> str:
        """Whose request it was."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Origin:
    """One connection as the source of requests.

    @ivar peer: an IP literal. C{secure}: it is for TLS; C{server_name} is the name
        of the finished handshake, C{None} without one.
    @ivar protocol: what the client speaks, for the log.
    @ivar tls: the version of TLS that was agreed on, C{""} without one.
    @ivar trusted: the peer is a proxy that speaks for others.
    @ivar fast_paths: what was learned of requests that came as its do.
    """

    __slots__ = (
        "_loopback",
        "_peer",
        "_switch",
        "fast_paths",
        "peer",
        "protocol",
        "secure",
        "server_name",
        "tls",
        "trusted",
    )

    def __init__(self, switch: Switch, peer: str, *, secure: bool) -> None:
        self._switch = switch
        self.peer = peer
        self._peer = peer.encode("ascii")
        self.secure = secure
        self.server_name: str | None = None
        self.protocol = "HTTP/1.1"
        self.tls = ""
        self.trusted = forwarded.trusts(switch.networks, peer)
        self.fast_paths = (
            switch.secure_fast_paths if secure else switch.plain_fast_paths
        )
        self._loopback = peer == "::1" or peer.startswith("127.")

    def target_of(self, request: RequestHead) -> Target | pages.Page:
        """Return where C{request} goes, or what it is answered with at once.

        Counts it, and gives it a name if it has none.
        """
        switch = self._switch
        switch.requests_total = number = switch.requests_total + 1
        if not request.request_id:
            request.request_id = switch.names.request_id(number)
        if not request.traceparent:
            request.traceparent = switch.names.traceparent(number)
        secure = self.secure
        if self.trusted:
            secure = self._secure(request)
        known = switch.secure_targets if secure else switch.plain_targets
        target = known.get(request.host)
        if (
            target is not None
            and (self.server_name is None or self.server_name == request.name)
            and not request.target.startswith(CHALLENGE_PREFIX)
            and switch.serves(target)
        ):
            return target
        arrival = Arrival(secure, self.server_name, switch.redirects, self._loopback)
        decision = decide(
            request, arrival, switch.table, switch.challenges, switch.public_https
        )
        if isinstance(decision, pages.Page):
            return decision
        return switch.target(decision, request, secure)

    def is_usual(self, request: RequestHead, target: Target) -> bool:
        """Tell whether the next request for this host goes to C{target} as well.

        A trusted peer speaks for others: each of its requests is looked at.
        """
        switch = self._switch
        known = switch.secure_targets if self.secure else switch.plain_targets
        return not self.trusted and known.get(request.host) is target

    def _secure(self, request: RequestHead) -> bool:
        """Tell whether the client speaks TLS, to us or to a proxy that we trust."""
        if self.trusted and request.forwarded_proto:
            return request.forwarded_proto == b"https"
        return self.secure

    def fields_for(self, request: RequestHead, target: Target) -> bytes:
        """Return the forwarding fields, each line with its end."""
        if not self.trusted:
            return forwarded.fields(
                self._peer,
                request.host,
                b"https" if self.secure else b"http",
                request.request_id,
                request.traceparent,
            )
        client = forwarded.behind(
            self.peer, self._secure(request), request, self._switch.networks
        )
        chain = client.address.encode() if target.is_api else client.chain
        return forwarded.fields(
            chain, client.host, client.proto, request.request_id, request.traceparent
        )

    def log(
        self,
        request: RequestHead,
        exchange: Exchange,
        way: Way | None,
        outcome: str,
        started_s: float,
    ) -> None:
        """Note a request that is over, for those who count and log.

        @param way: who forwarded it, C{None}: the answer is our own.
        @param started_s: when its head was complete, by the exact clock.
        """
        sink = self._switch.sink
        if sink is None:
            return
        client = self.peer
        if self.trusted:
            networks = self._switch.networks
            client = forwarded.behind(client, self.secure, request, networks).address
        now_s = self._switch.wheel.clock()
        head_at_s = now_s
        app = upstream = ""
        if way is not None:
            app = way.app
            upstream = way.upstream_key
            head_at_s = way.head_at_s or now_s
        sink(
            visit_by(
                request,
                exchange,
                self._switch.kinds,
                client=client,
                protocol=self.protocol,
                secure=self.secure,
                tls=self.tls,
                outcome=outcome,
                app=app,
                upstream=upstream,
                head_s=head_at_s - started_s,
                total_s=now_s - started_s,
            )
        )


def upgrade_of(request: RequestHead, target: Target) -> bytes:
    """Return the protocol to ask the upstream for, usually none."""
    return upgrade_for(request, target.route) if request.upgrade else b""
