"""Where requests of one route go: what forwarding by it needs at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from haloy.model.app import Balance, Protocol, ProxyOptions
from haloy.proxy import pages
from haloy.proxy.balance import Rotation
from haloy.proxy.routes import API_OWNER, ApiRoute, AppRoute

if TYPE_CHECKING:
    from haloy.proxy.pool import Pool

# The API's times: decisions.md, "On the wire".
API_OPTIONS: Final = ProxyOptions(
    response_timeout_s=900.0, body_timeout_s=300.0, max_connections=1024
)
_API_STREAM_IDLE_S: Final = 300.0


class Target:
    """A route with what forwarding by it needs at hand.

    @ivar name: the host name that leads here. C{epoch}: which table of the worker it
        was made by, or was last found good for; see L{haloy.proxy.switch.Switch}.
    """

    __slots__ = (
        "_balance",
        "_rotation",
        "app",
        "body_timeout_s",
        "connect_timeout_s",
        "epoch",
        "extra",
        "h2c",
        "is_api",
        "max_body_bytes",
        "name",
        "only",
        "pools",
        "replaced",
        "response_timeout_s",
        "route",
        "secure",
        "stream_idle_s",
        "tunnel_idle_s",
    )

    def __init__(
        self,
        epoch: int,
        name: str,
        route: AppRoute | ApiRoute,
        pools: tuple[Pool, ...],
        rotation: Rotation,
        *,
        secure: bool,
    ) -> None:
        options = API_OPTIONS if isinstance(route, ApiRoute) else route.options
        self.epoch = epoch
        self.name = name
        self.route = route
        self.secure = secure
        self.is_api = isinstance(route, ApiRoute)
        self.app = API_OWNER if isinstance(route, ApiRoute) else route.app
        self.pools = pools
        self.only = pools[0] if len(pools) == 1 else None
        self._rotation = rotation
        self._balance: Balance = options.balance
        self.h2c = options.protocol is Protocol.H2C
        for pool in pools:
            pool.h2c = self.h2c
        self.connect_timeout_s = options.connect_timeout_s
        self.response_timeout_s = options.response_timeout_s
        self.body_timeout_s = options.body_timeout_s
        self.tunnel_idle_s = options.tunnel_idle_s
        self.stream_idle_s = (
            _API_STREAM_IDLE_S if self.is_api else options.tunnel_idle_s
        )
        self.max_body_bytes = options.max_body_bytes
        self.extra, self.replaced = _extra_fields(options, secure=secure)

    def pick(self, now_s: float, tried: tuple[str, ...]) -> Pool | None:
        """Return who serves next, C{None} when all were tried."""
        return self._rotation.pick(self.pools, now_s, tried, self._balance)

    def nobody(self) -> pages.Page:
        """Return the answer when there is no upstream."""
        if self.is_api:
            return pages.Page(
                503,
                "The control plane is not available.",
                retry_after_s=5,
                text=True,
                code="unavailable",
            )
        return pages.unavailable()

    def bad_answer(self) -> pages.Page:
        """Return the answer when the upstream gave no valid one."""
        return self.nobody() if self.is_api else pages.error(502)


def _extra_fields(
    options: ProxyOptions, *, secure: bool
) -> tuple[bytes, frozenset[bytes]]:
    """Return the lines added to answers and the names that they replace."""
    fields = list(options.response_headers)
    if options.hsts_max_age_s is not None and secure:
        fields.append(
            ("Strict-Transport-Security", f"max-age={options.hsts_max_age_s}")
        )
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields)
    return lines.encode("latin-1"), frozenset(n.lower().encode() for n, _ in fields)
