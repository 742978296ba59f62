"""What a target says in texts, as the values the other packages work with."""

from __future__ import annotations

import re
from collections.abc import Callable

from haloy.config.app_file import ProxyEntry, Target
from haloy.config.units import parse_duration, parse_size
from haloy.errors import InvalidValue
from haloy.model.app import Balance, Domain, HealthCheck, ProxyOptions
from haloy.model.names import parse_domain_name

DEFAULT_HEALTH_TIMEOUT_S = 60.0
YEAR_S = 366 * 86400.0

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

#: Fields that frame a message: an app cannot set them through the proxy.
_FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)

# key -> (field of ProxyOptions, least and most seconds)
_TIMES: dict[str, tuple[str, float, float]] = {
    "connect_timeout": ("connect_timeout_s", 0.1, 60),
    "response_timeout": ("response_timeout_s", 0.1, 3600),
    "body_timeout": ("body_timeout_s", 1, 3600),
    "tunnel_idle": ("tunnel_idle_s", 1, 86400 * 7),
    "drain_requests": ("drain_requests_s", 0, 3600),
    "drain_tunnels": ("drain_tunnels_s", 0, 86400),
}


def proxy_options(entry: ProxyEntry | None) -> ProxyOptions:
    """Return what an app asks of the proxy. @raise InvalidValue: names the key."""
    if entry is None:
        return ProxyOptions()
    found: dict[str, object] = {}
    for key, (field, least_s, most_s) in _TIMES.items():
        text = getattr(entry, key)
        if text is not None:
            found[field] = parse_duration(text, f"proxy.{key}", least_s, most_s)
    if entry.max_body is not None:
        found["max_body_bytes"] = parse_size(entry.max_body, "proxy.max_body", 1)
    if entry.max_connections is not None:
        if not 1 <= entry.max_connections <= 65535:
            raise InvalidValue("must be 1 to 65535", field="proxy.max_connections")
        found["max_connections"] = entry.max_connections
    if entry.hsts is not None:
        seconds = parse_duration(entry.hsts, "proxy.hsts", 0, 2 * YEAR_S)
        found["hsts_max_age_s"] = int(seconds)
    if entry.headers is not None:
        found["response_headers"] = tuple(
            (_header_name(name), _header_value(name, value))
            for name, value in sorted(entry.headers.items())
        )
    if entry.balance is not None:
        found["balance"] = _choice(entry.balance, Balance, "proxy.balance")
    return ProxyOptions(**found)  # type: ignore[arg-type]  # each made by its own type


def health_check(target: Target) -> HealthCheck:
    """Return how replicas of C{target} prove that they are fit."""
    return HealthCheck(
        path=target.health_check_path or "/",
        min_ready_s=target.min_ready_seconds or 0,
    )


def health_timeout_s(target: Target) -> float:
    """Return how long a new replica may take to become healthy."""
    if target.health_check_timeout is None:
        return DEFAULT_HEALTH_TIMEOUT_S
    return parse_duration(target.health_check_timeout, "health_check_timeout", 1, 3600)


def domains(target: Target) -> tuple[Domain, ...]:
    """Return the domains of C{target}, each once. @raise InvalidValue: names it."""
    found: dict[str, Domain] = {}
    for i, entry in enumerate(target.domains or ()):
        place = f"domains[{i}]"
        canonical = parse_domain_name(entry.domain, f"{place}.domain", wildcard=True)
        aliases = tuple(
            dict.fromkeys(
                parse_domain_name(alias, f"{place}.aliases[{j}]")
                for j, alias in enumerate(entry.aliases or ())
            )
        )
        if canonical in aliases:
            raise InvalidValue(
                f"{canonical} cannot be an alias of itself", field=f"{place}.aliases"
            )
        found.setdefault(canonical, Domain(canonical, aliases))
    return tuple(found.values())


def _header_name(name: str) -> str:
    field = f"proxy.headers.{name}"
    if _HEADER_NAME.fullmatch(name) is None:
        raise InvalidValue("is not a header name", field=field)
    if name.lower() in _FRAMING:
        raise InvalidValue("frames the message and cannot be set", field=field)
    return name


def _header_value(name: str, value: str) -> str:
    if _HEADER_VALUE.fullmatch(value) is None:
        raise InvalidValue(
            "must be visible ASCII without spaces around it",
            field=f"proxy.headers.{name}",
        )
    return value


def _choice(text: str, kind: Callable[[str], Balance], field: str) -> Balance:
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(one.value for one in Balance)
        raise InvalidValue(f"{text!r} is none of {known}", field=field) from None
