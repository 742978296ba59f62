"""What a target says in texts, as the values the other packages work with."""

from __future__ import annotations

from typing import Any

from haloy.config.app_file import ProxyEntry, Target
from haloy.config.units import parse_duration, parse_size
from haloy.errors import InvalidValue
from haloy.model.app import Domain, HealthCheck, ProxyOptions
from haloy.model.names import parse_domain_name
from haloy.model.options import OPTIONS, Kind, Option, read_balance, read_headers

DEFAULT_HEALTH_TIMEOUT_S = 60.0


def proxy_options(entry: ProxyEntry | None) -> ProxyOptions:
    """Return what an app asks of the proxy. @raise InvalidValue: names the key."""
    if entry is None:
        return ProxyOptions()
    found: dict[str, object] = {}
    for option in OPTIONS:
        written = getattr(entry, option.key)
        if written is not None:
            found[option.field] = _read(option, written)
    if entry.headers is not None:
        found["response_headers"] = read_headers(entry.headers, "proxy.headers.")
    return ProxyOptions(**found)  # type: ignore[arg-type]  # each made by its own kind


def _read(option: Option, written: Any) -> object:
    field = f"proxy.{option.key}"
    if option.kind is Kind.SECONDS:
        number = parse_duration(written, field, option.least, option.most)
    elif option.kind is Kind.BYTES:
        number = parse_size(written, field, int(option.least), int(option.most))
    elif option.kind is Kind.COUNT:
        number = written
    else:
        return read_balance(written, field)
    return option.checked(number, field, repr(written))


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
