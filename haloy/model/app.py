"""What runs and should run: apps, deployments, replicas, and what we think of them."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

from attrs import field, frozen

from haloy.model.names import AppName, DeploymentId, DomainName


class Strategy(Enum):
    """How a deployment takes over from the one before it."""

    ROLLING = "rolling"
    REPLACE = "replace"
    BLUE_GREEN = "blue_green"


class Naming(Enum):
    """How containers are named: with the deployment id, or by the app alone."""

    DYNAMIC = "dynamic"
    STATIC = "static"


class Balance(Enum):
    """How a route picks a replica."""

    ROUND_ROBIN = "round_robin"
    LEAST_OUTSTANDING = "least_outstanding"


class Protocol(Enum):
    """What an app speaks: HTTP/1.1, or HTTP/2 without TLS, as gRPC servers do."""

    HTTP1 = "http1"
    H2C = "h2c"


class Verdict(Enum):
    """What the health monitor thinks of a replica."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


@frozen
class Assessment:
    """A verdict with the reason a person wants to read and since when it holds."""

    verdict: Verdict
    reason: str
    since: datetime


@frozen
class Domain:
    """A canonical name and the names redirected to it."""

    canonical: DomainName
    aliases: tuple[DomainName, ...] = ()


@frozen
class Address:
    """Where a replica answers: an IP literal (v4 or v6, no brackets) and a port."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        """Host and port as they stand in a URL (RFC 3986 section 3.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@frozen
class UnixAddress:
    """Where a local service answers: the path of a stream socket."""

    path: str


@frozen
class HealthCheck:
    """How a replica proves that it is fit to serve.

    C{path} is asked for by GET, over HTTP/2 if C{h2c}; C{grpc} asks grpc.health.v1
    instead, C{grpc:NAME} about one service. An image with a Docker HEALTHCHECK of its
    own is asked through Docker.
    """

    path: str = "/"
    min_ready_s: int = 0
    h2c: bool = False

    @property
    def service(self) -> str | None:
        """The service that grpc.health.v1 is asked about, empty for the server.

        C{None}: it is not asked.
        """
        if self.path != "grpc" and not self.path.startswith("grpc:"):
            return None
        return self.path.partition(":")[2]


@frozen
class ProxyOptions:
    """What an app asks of the proxy beyond the defaults.

    Times in seconds, sizes in bytes; C{None} is "no limit" or "not set".
    Keys, labels and bounds: C{docs/reference/app-options.md}.
    """

    connect_timeout_s: float = 5.0
    response_timeout_s: float = 60.0
    body_timeout_s: float = 30.0
    tunnel_idle_s: float = 3600.0
    drain_requests_s: float = 30.0
    drain_tunnels_s: float = 3600.0
    max_body_bytes: int | None = None
    max_connections: int = 4096
    hsts_max_age_s: int | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    balance: Balance = Balance.ROUND_ROBIN
    protocol: Protocol = Protocol.HTTP1


@frozen
class Replica:
    """One container of a deployment, as discovered.

    C{number} counts from 1. C{address} is C{None} while no address is reachable
    for us. C{managed} says that we made the container (and so may remove it).
    C{told} is what the engine's own check of it says, C{None} without one.
    """

    container_id: str
    name: str
    app: AppName
    deployment: DeploymentId
    number: int
    address: Address | None
    managed: bool
    running: bool
    started_at: datetime | None = None
    told: Verdict | None = None


@frozen
class App:
    """An app as one of its deployments describes it: what labels can carry."""

    name: AppName
    deployment: DeploymentId
    domains: tuple[Domain, ...] = ()
    port: int = 8080
    health: HealthCheck = HealthCheck()
    proxy: ProxyOptions = ProxyOptions()
    replicas: tuple[Replica, ...] = field(default=())
