"""C{GET /metrics}: on loopback for everybody who is there, else for a read token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import ip_address
from typing import Any

from attrs import define
from klein import Klein

from haloy.api.answers import SECURITY, error_answer
from haloy.api.gatekeeper import Gatekeeper
from haloy.errors import NotFound

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@define(eq=False)
class MetricsRoute:
    """Mounted by the API.

    @ivar _text: gives the answer; C{None} where there are no metrics.
    @ivar _settings: gives whether there are any, and whether loopback is enough.
    """

    app = Klein()

    _gatekeeper: Gatekeeper
    _text: Callable[[], Awaitable[bytes]] | None = None
    _settings: Callable[[], tuple[bool, bool]] = lambda: (True, True)

    @app.route("/", methods=["GET"], strict_slashes=False)
    async def metrics(self, request: Any) -> bytes:
        """Tell them, as OpenMetrics."""
        enabled, open_on_loopback = self._settings()
        if self._text is None or not enabled:
            raise NotFound("there are no metrics here (metrics.enabled in haloyd.yaml)")
        if not (open_on_loopback and is_loopback(request)):
            self._gatekeeper.admit(request, "read")
        for name, value in SECURITY.items():
            request.setHeader(name, value)
        text = await self._text()
        request.setHeader("Content-Type", CONTENT_TYPE)
        return text

    @app.handle_errors(Exception)
    def refused(self, request: Any, failure: Any) -> Any:
        """Answer as the API does everywhere."""
        return error_answer(request, failure)


def is_loopback(request: Any) -> bool:
    """Return whether a request comes from this machine, and not through a proxy.

    A browser on this machine that was led here by a foreign name (DNS rebinding)
    does not count: the Host must be loopback too.
    """
    host = getattr(request.getClientAddress(), "host", None)
    if host is None or request.getHeader("X-Forwarded-For"):
        return False
    return _loopback(str(host)) and _loopback(request.getRequestHostname().decode())


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
