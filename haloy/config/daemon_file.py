"""C{haloyd.yaml}: its schema. Times are seconds and sizes bytes once parsed."""

from __future__ import annotations

from attrs import frozen


@frozen
class ApiSettings:
    """Where the API is: its public domain (C{""}: none) and its loopback listener."""

    domain: str = ""
    listen: str = "127.0.0.1:9922"


@frozen
class ProxySettings:
    """The proxy's listeners, C{HOST:PORT} or C{:PORT}; C{public_https} for redirects.

    C{mode} is C{auto}, C{embedded} or C{split}; C{public_https} of 0 means the
    port of C{https}.
    """

    http: str = ":80"
    https: str = ":443"
    mode: str = "auto"
    public_https: int = 0
    trusted_proxies: tuple[str, ...] = ()


@frozen
class DnsSettings:
    """Resolvers as C{HOST:PORT} (empty: the system's), and the public view on names."""

    resolvers: tuple[str, ...] = ()
    public: bool = True


@frozen
class AcmeSettings:
    """The certificate authority; C{ca_file} is what to trust it by, C{""}: the system."""

    directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    ca_file: str = ""
    email: str = ""


@frozen
class HealthMonitorSettings:
    """The rounds of the health monitor."""

    enabled: bool = True
    interval_s: float = 15.0
    fall: int = 3
    rise: int = 2
    timeout_s: float = 5.0
    concurrency: int = 10


@frozen
class PolicySettings:
    """What an app may ask of Docker. C{bind_mounts}: C{allow}, C{refuse}, or prefixes."""

    bind_mounts: str | tuple[str, ...] = "allow"
    host_network: str = "allow"
    privileged: str = "refuse"


@frozen
class DaemonFile:
    """A whole C{haloyd.yaml}."""

    api: ApiSettings = ApiSettings()
    proxy: ProxySettings = ProxySettings()
    dns: DnsSettings = DnsSettings()
    acme: AcmeSettings = AcmeSettings()
    health_monitor: HealthMonitorSettings = HealthMonitorSettings()
    policy: PolicySettings = PolicySettings()
