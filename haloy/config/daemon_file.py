"""C{haloyd.yaml}: its schema. Times are seconds and sizes bytes once parsed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any

from attrs import field, frozen

from haloy.config.document import Document, parse_document
from haloy.config.units import parse_duration
from haloy.errors import ConfigError, InvalidValue
from haloy.model.names import parse_domain_name


@frozen
class ApiSettings:
    """Where the API is: its public domain (C{""}: none) and its loopback listener."""

    domain: str = ""
    listen: str = "127.0.0.1:9922"


@frozen
class ProxySettings:
    """The proxy's listeners: C{HOST:PORT}, C{:PORT}, or C{""} for none.

    C{mode} is C{auto}, C{embedded} or C{split}; C{public_https} is the port in
    redirects, 0 the one of C{https}. C{trusted_proxies} (addresses and networks whose
    word on the client's address is taken) is a key of the file's root.
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
    """The certificate authority; C{ca_file} is what to trust it by (C{""}: system)."""

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
    """What an app may ask of Docker.

    C{bind_mounts} is C{allow}, C{refuse}, or the path prefixes that are allowed.
    """

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


def parse_daemon_file(text: str, path: str) -> DaemonFile:
    """Return the settings in C{text}; what is not said keeps its default.

    @raise ConfigError: unknown key, wrong type or range, with file and line.
    """
    document = parse_document(text, path, "yaml")
    root = _Section(document, (), {} if document.value is None else document.value)
    root.only(
        "api", "proxy", "trusted_proxies", "dns", "acme", "health_monitor", "policy"
    )
    return DaemonFile(
        api=_api(root.section("api")),
        proxy=_proxy(root.section("proxy"), root.get("trusted_proxies", (), _networks)),
        dns=_dns(root.section("dns")),
        acme=_acme(root.section("acme")),
        health_monitor=_health(root.section("health_monitor")),
        policy=_policy(root.section("policy")),
    )


def render_default(api_domain: str) -> str:
    """Return the commented C{haloyd.yaml} that C{haloyd init} writes."""
    domain = (
        f"  domain: {api_domain}"
        if api_domain
        else "  # domain: api.example.com  # without one the API is on loopback only"
    )
    return f"""\
# haloyd: what this server does. Check changes with `twistd haloyd --check`.
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

# What a deploy may ask of Docker. Allow a path by listing its prefix.
policy:
  bind_mounts: refuse
  host_network: refuse
  privileged: refuse
"""


# --- sections ---------------------------------------------------------------


@frozen
class _Section:
    """One mapping of the file, and where it stands."""

    document: Document
    where: tuple[str, ...]
    values: Any = field(validator=lambda one, _, value: one.check_mapping(value))

    def check_mapping(self, value: object) -> None:
        if not isinstance(value, Mapping):
            raise self.error("", "wants a mapping of keys")

    def only(self, *known: str) -> None:
        """Refuse keys that are none of C{known}, with a suggestion."""
        for key in self.values:
            if key in known:
                continue
            if (*self.where, key) == ("api_domain",):
                raise self.error(str(key), "is written `api: {domain: …}`")
            near = difflib.get_close_matches(str(key), known, 1, 0.6)
            hint = (
                f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(known)
            )
            raise self.error(str(key), f"unknown key; {hint}")

    def section(self, key: str) -> _Section:
        """Return a mapping inside; absent or null is empty."""
        value = self.values.get(key)
        return _Section(
            self.document, (*self.where, key), {} if value is None else value
        )

    def error(self, key: str, reason: str) -> ConfigError:
        """Return the error to raise about C{key}."""
        where = (*self.where, key) if key else self.where
        name = ".".join(where)
        return ConfigError(
            f"{name}: {reason}" if name else reason,
            path=self.document.path,
            line=self.document.line(where),
        )

    def get(self, key: str, default: Any, read: Callable[[Any, str], Any]) -> Any:
        """Return C{key} as C{read} takes it; absent or null is C{default}."""
        value = self.values.get(key)
        if value is None:
            return default
        try:
            return read(value, key)
        except InvalidValue as problem:
            raise self.error(key, problem.reason) from None


def _api(section: _Section) -> ApiSettings:
    section.only("domain", "listen")
    default = ApiSettings()
    return ApiSettings(
        domain=section.get("domain", default.domain, _domain_or_none),
        listen=section.get("listen", default.listen, _endpoint),
    )


def _proxy(section: _Section, trusted: tuple[str, ...]) -> ProxySettings:
    section.only("http", "https", "mode", "public_https")
    default = ProxySettings()
    return ProxySettings(
        http=section.get("http", default.http, _endpoint_or_none),
        https=section.get("https", default.https, _endpoint_or_none),
        mode=section.get("mode", default.mode, _one_of("auto", "embedded", "split")),
        public_https=section.get(
            "public_https", default.public_https, _whole(1, 65535)
        ),
        trusted_proxies=trusted,
    )


def _dns(section: _Section) -> DnsSettings:
    section.only("resolvers", "public")
    return DnsSettings(
        resolvers=section.get("resolvers", (), _resolvers),
        public=section.get("public", True, _boolean),
    )


def _acme(section: _Section) -> AcmeSettings:
    section.only("directory", "ca_file", "email")
    default = AcmeSettings()
    return AcmeSettings(
        directory=section.get("directory", default.directory, _https),
        ca_file=section.get("ca_file", default.ca_file, _text),
        email=section.get("email", default.email, _text),
    )


def _health(section: _Section) -> HealthMonitorSettings:
    section.only("enabled", "interval", "fall", "rise", "timeout", "concurrency")
    default = HealthMonitorSettings()
    return HealthMonitorSettings(
        enabled=section.get("enabled", default.enabled, _boolean),
        interval_s=section.get("interval", default.interval_s, _between_s(0.1, 3600)),
        fall=section.get("fall", default.fall, _whole(1, 100)),
        rise=section.get("rise", default.rise, _whole(1, 100)),
        timeout_s=section.get("timeout", default.timeout_s, _between_s(0.05, 300)),
        concurrency=section.get("concurrency", default.concurrency, _whole(1, 1000)),
    )


def _policy(section: _Section) -> PolicySettings:
    section.only("bind_mounts", "host_network", "privileged")
    default = PolicySettings()
    return PolicySettings(
        bind_mounts=section.get("bind_mounts", default.bind_mounts, _mounts),
        host_network=section.get(
            "host_network", default.host_network, _one_of("allow", "refuse")
        ),
        privileged=section.get("privileged", default.privileged, _one_of("refuse")),
    )


# --- values -----------------------------------------------------------------


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise InvalidValue(f"wants a text, got {value!r}", field=key)
    return value


def _texts(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidValue(f"wants a list, got {value!r}", field=key)
    return tuple(_text(one, key) for one in value)


def _boolean(value: Any, key: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidValue(f"wants true or false, got {value!r}", field=key)
    return value


def _whole(least: int, most: int) -> Callable[[Any, str], int]:
    def read(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValue(f"wants a whole number, got {value!r}", field=key)
        if not least <= value <= most:
            raise InvalidValue(f"must be {least} to {most}, not {value}", field=key)
        return value

    return read


def _between_s(least_s: float, most_s: float) -> Callable[[Any, str], float]:
    def read(value: Any, key: str) -> float:
        return parse_duration(_text(value, key), key, least_s, most_s)

    return read


def _one_of(*known: str) -> Callable[[Any, str], str]:
    def read(value: Any, key: str) -> str:
        if value not in known:
            raise InvalidValue(f"{value!r} is none of {', '.join(known)}", field=key)
        return str(value)

    return read


def _mounts(value: Any, key: str) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return _one_of("allow", "refuse")(value, key)
    prefixes = _texts(value, key)
    for prefix in prefixes:
        if not prefix.startswith("/"):
            raise InvalidValue(f"{prefix!r} is not an absolute path", field=key)
    return prefixes


def _domain_or_none(value: Any, key: str) -> str:
    text = _text(value, key)
    return parse_domain_name(text, key) if text else ""


def _endpoint(value: Any, key: str) -> str:
    text = _text(value, key)
    host, colon, port = text.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or bare_ipv6 or not digits or int(port) > 65535:
        raise InvalidValue(
            f"{text!r} is not HOST:PORT, :PORT or [IPV6]:PORT", field=key
        )
    return text


def _endpoint_or_none(value: Any, key: str) -> str:
    return "" if value == "" else _endpoint(value, key)


def _resolvers(value: Any, key: str) -> tuple[str, ...]:
    found = tuple(_endpoint(one, key) for one in _texts(value, key))
    for one in found:
        if one.startswith(":"):
            raise InvalidValue(f"{one!r} is not HOST:PORT", field=key)
    return found


def _networks(value: Any, key: str) -> tuple[str, ...]:
    found = _texts(value, key)
    for one in found:
        try:
            ip_network(one, strict=False)
        except ValueError:
            raise InvalidValue(
                f"{one!r} is not an address or network, as in 10.0.0.0/8", field=key
            ) from None
    return found


def _https(value: Any, key: str) -> str:
    text = _text(value, key)
    if not text.startswith("https://"):
        raise InvalidValue("must begin with https://", field=key)
    return text
