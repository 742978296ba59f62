"""Which form of the proxy this daemon drives, decided once at its start.

Embedded: it serves in this process. Split: C{haloy-proxy} does, and is told by its
control socket; the API's socket then lies beside that, where the proxy's user can
reach it, and belongs to its group.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from haloy.config.daemon_file import LimitsSettings, ProxySettings
from haloy.daemon.housekeeping import Renewable
from haloy.daemon.operations import Operations
from haloy.health.probe import prober
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.crowd import CONNECTIONS_LIMIT
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.http2.asking import ask
from haloy.proxy.interface import Proxy
from haloy.proxy.settings import Settings
from haloy.proxy.tls.contexts import SniContexts
from haloy.proxy.tls.policy import offered

#: Asks a replica whether it is fit; HTTP/2 it is asked by the proxy's engine.
PROBE: Final = prober(ask)


class DataPlane(Proxy, Protocol):
    """The proxy as a service of this process, whatever its form."""

    running: Any

    @property
    def http_port(self) -> int:
        """The port for plain requests, 0: none of ours."""

    @property
    def https_port(self) -> int:
        """The port for TLS, 0: none of ours."""

    @property
    def trouble(self) -> str:
        """Why nothing can be told to the proxy, C{""}: it can."""

    def startService(self) -> None:
        """Begin."""

    def stopService(self) -> Deferred[None]:
        """End in order."""


@frozen
class Plane:
    """The chosen form.

    @ivar contexts: whose ticket keys are made anew here.
    @ivar api_socket: where the proxy looks for the API; C{api_mode} is its mode.
    """

    proxy: DataPlane
    contexts: Renewable
    split: bool
    api_socket: Path
    api_mode: int = 0o600


class _OwnKeys:
    """Workers of the split form make new ticket keys by themselves."""

    def renew(self) -> None:
        """Leave it to them."""


def is_split(settings: ProxySettings) -> bool:
    """Return whether C{haloy-proxy} serves.

    C{auto}: where an installed one's folder for sockets is.
    """
    if settings.mode == "auto":
        return Path(settings.control).parent.is_dir()
    return settings.mode == "split"


def told_limits(limits: LimitsSettings) -> dict[str, int]:
    """Return what the proxy is told of C{limits}: what differs from its own.

    A haloy-proxy of an earlier version does not know the name.
    """
    count = limits.connections_per_client
    return {} if count == CONNECTIONS_LIMIT else {"connections_per_client": count}


def choose_plane(
    reactor: Any,
    settings: ProxySettings,
    limits: LimitsSettings,
    api_socket: Path,
    operations: Operations,
) -> Plane:
    """Return the form of the proxy that C{settings} ask for, not started yet."""
    if is_split(settings):
        remote = RemoteProxy(
            reactor,
            settings.control,
            {
                "public_https": settings.public_https,
                "trusted_proxies": list(settings.trusted_proxies),
                "http2": settings.http2,
                **told_limits(limits),
            },
            operations.requests.record,
            lambda: operations.requests.wanted,
        )
        operations.requests.hand_on = remote.log_requests
        beside = Path(os.path.abspath(settings.control)).with_name("api.sock")
        return Plane(remote, _OwnKeys(), True, beside, 0o660)
    contexts = SniContexts(offered(http2=settings.http2))
    embedded = EmbeddedProxy(
        reactor,
        Settings(
            http=settings.http,
            https=settings.https,
            public_https=settings.public_https,
            trusted_proxies=settings.trusted_proxies,
            http2=settings.http2,
            **told_limits(limits),
        ),
        contexts,
        operations.requests.record,
    )
    return Plane(embedded, contexts, False, api_socket)
