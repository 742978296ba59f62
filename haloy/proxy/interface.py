"""Proxy: what haloyd asks of the data path; one contract for both forms.

Implemented in-process (C{proxy.embedded}) and over a control socket
(C{proxy.control.client}).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from attrs import field, frozen

from haloy.model.certificate import Certificate, Challenge
from haloy.model.names import AppName
from haloy.proxy.metrics import TrafficReading
from haloy.proxy.routes import RouteTable


@frozen
class Leftover:
    """What still ran when a drain ended at its limit; zeros: drained."""

    requests: int
    tunnels: int


@frozen
class DrainLimits:
    """How long to wait for exchanges and for tunnels, in seconds."""

    requests_s: float
    tunnels_s: float


@frozen
class AccessSettings:
    """What is written of requests.

    C{form} is C{json} or C{combined}; C{percent} of the requests that went well are
    written and all others; C{redact} names what is left out; at C{max_bytes} the
    file is renamed to C{NAME.1} and begun anew, 0: never.
    """

    form: str
    percent: int = 100
    redact: frozenset[str] = frozenset()
    max_bytes: int = 0


@frozen
class UpstreamFailure:
    """A passive signal: C{key} refused a connection or did not take it in time."""

    key: str
    reason: str


@frozen
class ProxyStats:
    """A reading of the data path.

    C{draining}: what still runs on upstreams that are gone from the table, by key.
    C{parked}: apps whose new requests are held.
    """

    generation: int
    connections: int
    requests_active: int
    tunnels_active: int
    requests_total: int
    draining: Mapping[str, Leftover] = field(factory=dict)
    parked: tuple[AppName, ...] = ()


@frozen
class Program:
    """The code that C{workers} processes serve with.

    C{release}: C{""}: that of who asks. C{form}: compiled or interpreted.
    C{draining}: they accept no connections any more.
    """

    release: str
    form: str
    workers: int = 1
    draining: bool = False


class Proxy(Protocol):
    """The data path, as the control plane sees it."""

    async def replace_table(self, table: RouteTable) -> None:
        """Serve by C{table} from now on; return when every worker does.

        Upstreams that are gone from the table get no new exchange; their idle
        pooled connections close at once; what runs goes on (see L{drain}).
        """

    async def replace_certificates(self, certificates: tuple[Certificate, ...]) -> None:
        """Serve with exactly these; handshakes and connections under way go on."""

    async def present(self, challenge: Challenge) -> None:
        """Answer C{challenge} from now on; return when every worker does."""

    async def withdraw(self, challenge: Challenge) -> None:
        """Stop answering C{challenge}."""

    async def drain(self, key: str, limits: DrainLimits) -> Leftover:
        """Wait until nothing of upstream C{key} runs, or the limits have passed.

        Exchanges count while a body still arrives in either direction. Nothing is
        cut here. The caller takes the upstream out of the table first.
        """

    async def park(self, app: AppName, limit_s: float) -> None:
        """Hold new requests of C{app} while it has no upstream, up to C{limit_s}."""

    async def unpark(self, app: AppName) -> None:
        """Send the held requests on; without an upstream they get 503."""

    def stats(self) -> ProxyStats:
        """Return a reading."""

    async def traffic(self) -> TrafficReading:
        """Return what has been counted, the sum of all workers."""

    async def programs(self) -> tuple[Program, ...]:
        """Return which code serves, those that drain last.

        @raise HaloyError: nobody is there to say.
        """

    def trust(self, networks: Sequence[str]) -> None:
        """Believe C{X-Forwarded-For} of these peers from now on, and of no others."""

    def on_upstream_failure(self, notify: Callable[[UpstreamFailure], None]) -> None:
        """Call C{notify} for every passive signal from now on."""
