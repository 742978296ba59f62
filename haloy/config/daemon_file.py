"""C{haloyd.yaml}: its schema. Times are seconds and sizes bytes once parsed."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any, Final

from attrs import field, frozen

from haloy.config.acme_settings import AcmeSettings, parse_acme
from haloy.config.document import parse_document
from haloy.config.operations import (
    DiskSettings,
    LogSettings,
    ManholeSettings,
    MetricsSettings,
    parse_disk,
    parse_log,
    parse_manhole,
    parse_metrics,
)
from haloy.config.section import (
    Section,
    as_boolean,
    as_endpoint,
    as_text,
    as_texts,
    between_s,
    one_of,
    whole,
)
from haloy.errors import InvalidValue
from haloy.model.names import parse_domain_name

#: What stands at the root of the file.
SECTIONS = (
    "api",
    "proxy",
    "trusted_proxies",
    "dns",
    "acme",
    "health_monitor",
    "policy",
    "limits",
    "disk",
    "log",
    "metrics",
    "manhole",
)
#: What an address has room for, with the zero behind it (unix(7)).
_SOCKET_PATH_BYTES: Final = 107


@frozen
class ApiSettings:
    """Where the API is: its public domain (C{""}: none) and its loopback listener."""

    domain: str = ""
    listen: str = "127.0.0.1:9922"


@frozen
class ProxySettings:
    """The proxy's listeners: C{HOST:PORT}, C{:PORT}, or C{""} for none.

    C{mode} is C{auto}, C{embedded} or C{split}; C{control} is where a split proxy is
    told what to serve; C{public_https} is the port in
    redirects, 0 the one of C{https}. C{http2}: HTTPS clients may speak HTTP/2.
    C{trusted_proxies} (addresses and networks whose
    word on the client's address is taken) is a key of the file's root.
    """

    http: str = ":80"
    https: str = ":443"
    mode: str = "auto"
    public_https: int = 0
    trusted_proxies: tuple[str, ...] = ()
    http2: bool = True
    control: str = "/run/haloy/proxy.sock"


@frozen
class DnsSettings:
    """Resolvers as C{HOST:PORT} (empty: the system's), and the public view on names."""

    resolvers: tuple[str, ...] = ()
    public: bool = True


@frozen
class HealthMonitorSettings:
    """The rounds of the health monitor."""

    enabled: bool = True
    interval_s: float = 15.0
    fall: int = 3
    rise: int = 2
    timeout_s: float = 5.0
    concurrency: int = 10
    replace_after_s: float = 60.0


@frozen
class PolicySettings:
    """What an app may ask of Docker.

    C{bind_mounts} is C{allow}, C{refuse}, or the path prefixes that are allowed.
    """

    bind_mounts: str | tuple[str, ...] = "allow"
    host_network: str = "allow"
    privileged: str = "refuse"


@frozen
class LimitsSettings:
    """What one client may have of the proxy; 0 connections: any number."""

    connections_per_client: int = 1024


@frozen
class DaemonFile:
    """A whole C{haloyd.yaml}."""

    api: ApiSettings = ApiSettings()
    proxy: ProxySettings = ProxySettings()
    dns: DnsSettings = DnsSettings()
    acme: AcmeSettings = AcmeSettings()
    health_monitor: HealthMonitorSettings = HealthMonitorSettings()
    policy: PolicySettings = PolicySettings()
    limits: LimitsSettings = LimitsSettings()
    disk: DiskSettings = field(factory=DiskSettings)
    log: LogSettings = field(factory=LogSettings)
    metrics: MetricsSettings = field(factory=MetricsSettings)
    manhole: ManholeSettings = field(factory=ManholeSettings)


def parse_daemon_file(text: str, path: str) -> DaemonFile:
    """Return the settings in C{text}; what is not said keeps its default.

    @raise ConfigError: unknown key, wrong type or range, with file and line.
    """
    document = parse_document(text, path, "yaml")
    root = Section(document, (), {} if document.value is None else document.value)
    root.only(*SECTIONS)
    return DaemonFile(
        api=_api(root.section("api")),
        proxy=_proxy(root.section("proxy"), root.get("trusted_proxies", (), _networks)),
        dns=_dns(root.section("dns")),
        acme=parse_acme(root.section("acme")),
        health_monitor=_health(root.section("health_monitor")),
        policy=_policy(root.section("policy")),
        limits=_limits(root.section("limits")),
        disk=parse_disk(root.section("disk")),
        log=parse_log(root.section("log")),
        metrics=parse_metrics(root.section("metrics")),
        manhole=parse_manhole(root.section("manhole")),
    )


def render_default(api_domain: str) -> str:
    """Return the commented C{haloyd.yaml} that C{haloyd init} writes."""
    domain = (
        f"  domain: {api_domain}"
        if api_domain
        else "  # domain: api.example.com  # without one the API is on loopback only"
    )
    return f"""\
# haloyd: what this server does. Check changes with `haloyd config check`.
api:
{domain}
  listen: 127.0.0.1:9922

proxy:
  http: ":80"
  https: ":443"
  mode: auto  # auto, embedded or split

# Proxies in front of this server; their X-Forwarded-For is believed.
# trusted_proxies: [10.0.0.0/8]

acme:
  directory: https://acme-v02.api.letsencrypt.org/directory
  # email: you@example.com  # the certificate authority writes before trouble

health_monitor:
  enabled: true
  interval: 15s
  fall: 3      # failures in a row until a replica leaves the route
  rise: 2      # successes in a row until it is back
  timeout: 5s
  concurrency: 10
  replace_after: 1m  # a replica that runs and fails for so long is replaced

# What a deploy may ask of Docker. Allow a path by listing its prefix.
policy:
  bind_mounts: refuse
  host_network: refuse
  privileged: refuse

# How full a disk may be. At prune_percent old images of our apps go, never others'.
disk:
  warn_percent: 85
  prune_percent: 95
  keep: 2      # deployments of an app that stay, for rolling back

log:
  access: "off"  # or json, combined: one line a request in logs/access.log
"""


# --- sections ---------------------------------------------------------------


def _api(section: Section) -> ApiSettings:
    section.only("domain", "listen")
    default = ApiSettings()
    return ApiSettings(
        domain=section.get("domain", default.domain, _domain_or_none),
        listen=section.get("listen", default.listen, as_endpoint),
    )


def _proxy(section: Section, trusted: tuple[str, ...]) -> ProxySettings:
    section.only("http", "https", "mode", "public_https", "http2", "control")
    default = ProxySettings()
    return ProxySettings(
        http=section.get("http", default.http, _endpoint_or_none),
        https=section.get("https", default.https, _endpoint_or_none),
        mode=section.get("mode", default.mode, one_of("auto", "embedded", "split")),
        public_https=section.get("public_https", default.public_https, whole(1, 65535)),
        trusted_proxies=trusted,
        http2=section.get("http2", default.http2, _switch),
        control=section.get("control", default.control, _socket_path),
    )


def _socket_path(value: Any, key: str) -> str:
    text = as_text(value, key)
    if not text.startswith("/"):
        raise InvalidValue(f"{text!r} is not an absolute path", field=key)
    if len(text.encode()) > _SOCKET_PATH_BYTES:
        raise InvalidValue(
            f"is longer than the {_SOCKET_PATH_BYTES} bytes that the path of a socket "
            "may have",
            field=key,
        )
    return text


def _switch(value: Any, name: str) -> bool:
    """Return a boolean, also of C{on} and C{off}."""
    return as_boolean({"on": True, "off": False}.get(str(value), value), name)


def _dns(section: Section) -> DnsSettings:
    section.only("resolvers", "public")
    return DnsSettings(
        resolvers=section.get("resolvers", (), _resolvers),
        public=section.get("public", True, as_boolean),
    )


def _health(section: Section) -> HealthMonitorSettings:
    section.only(
        *("enabled", "interval", "fall", "rise", "timeout", "concurrency"),
        "replace_after",
    )
    default = HealthMonitorSettings()
    return HealthMonitorSettings(
        enabled=section.get("enabled", default.enabled, as_boolean),
        interval_s=section.get("interval", default.interval_s, between_s(0.1, 3600)),
        fall=section.get("fall", default.fall, whole(1, 100)),
        rise=section.get("rise", default.rise, whole(1, 100)),
        timeout_s=section.get("timeout", default.timeout_s, between_s(0.05, 300)),
        concurrency=section.get("concurrency", default.concurrency, whole(1, 1000)),
        replace_after_s=section.get(
            "replace_after", default.replace_after_s, between_s(1, 86400)
        ),
    )


def _policy(section: Section) -> PolicySettings:
    section.only("bind_mounts", "host_network", "privileged")
    default = PolicySettings()
    return PolicySettings(
        bind_mounts=section.get("bind_mounts", default.bind_mounts, _mounts),
        host_network=section.get(
            "host_network", default.host_network, one_of("allow", "refuse")
        ),
        privileged=section.get("privileged", default.privileged, one_of("refuse")),
    )


def _limits(section: Section) -> LimitsSettings:
    section.only("connections_per_client")
    default = LimitsSettings()
    return LimitsSettings(
        section.get(
            "connections_per_client",
            default.connections_per_client,
            whole(0, 1_000_000),
        )
    )


# --- values -----------------------------------------------------------------


def _mounts(value: Any, key: str) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return one_of("allow", "refuse")(value, key)
    prefixes = as_texts(value, key)
    for prefix in prefixes:
        if not prefix.startswith("/"):
            raise InvalidValue(f"{prefix!r} is not an absolute path", field=key)
    return prefixes


def _domain_or_none(value: Any, key: str) -> str:
    text = as_text(value, key)
    return parse_domain_name(text, key) if text else ""


def _endpoint_or_none(value: Any, key: str) -> str:
    return "" if value == "" else as_endpoint(value, key)


def _resolvers(value: Any, key: str) -> tuple[str, ...]:
    found = tuple(as_endpoint(one, key) for one in as_texts(value, key))
    for one in found:
        if one.startswith(":"):
            raise InvalidValue(f"{one!r} is not HOST:PORT", field=key)
    return found


def _networks(value: Any, key: str) -> tuple[str, ...]:
    found = as_texts(value, key)
    for one in found:
        try:
            ip_network(one, strict=False)
        except ValueError:
            raise InvalidValue(
                f"{one!r} is not an address or network, as in 10.0.0.0/8", field=key
            ) from None
    return found
