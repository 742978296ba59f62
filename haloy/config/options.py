"""What a target says in texts, as the values the other packages work with."""

from __future__ import annotations

from typing import Any

from haloy.config.app_file import ProxyEntry, Target
from haloy.config.units import parse_duration, parse_size
from haloy.errors import InvalidValue
from haloy.model.app import Domain, HealthCheck, ProxyOptions
from haloy.model.names import DomainName, parse_domain_name
from haloy.model.options import OPTIONS, Kind, Option, read_choice, read_headers

DEFAULT_HEALTH_TIMEOUT_S = 60.0

#: A domain and its aliases share one certificate, and public authorities put 100
#: names into one at most.
ALIASES_LIMIT = 99


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
        assert option.choices is not None  # noqa: S101 - a choice has choices
        return read_choice(option.choices, written, field)
    return option.checked(number, field, repr(written))


def health_check(target: Target) -> HealthCheck:
    """Return how replicas of C{target} prove that they are fit."""
    return HealthCheck(
        path=target.health_check_path or "/",
        min_ready_s=target.min_ready_seconds or 0,
        h2c=target.proxy is not None and target.proxy.protocol == "h2c",
    )


def health_timeout_s(target: Target) -> float:
    """Return how long a new replica may take to become healthy."""
    if target.health_check_timeout is None:
        return DEFAULT_HEALTH_TIMEOUT_S
    return parse_duration(target.health_check_timeout, "health_check_timeout", 1, 3600)


def domains(target: Target) -> tuple[Domain, ...]:
    """Return the domains of C{target}, each once; one given twice has both's aliases.

    @raise InvalidValue: one is no domain, or an alias leads to two of them.
    """
    found: dict[DomainName, dict[DomainName, None]] = {}
    owner: dict[DomainName, DomainName] = {}
    entries = target.domains or ()
    for i, entry in enumerate(entries):
        field = f"domains[{i}].domain"
        found.setdefault(parse_domain_name(entry.domain, field, wildcard=True), {})
    for i, entry in enumerate(entries):
        canonical = parse_domain_name(entry.domain, wildcard=True)
        for j, text in enumerate(entry.aliases or ()):
            field = f"domains[{i}].aliases[{j}]"
            alias = parse_domain_name(text, field)
            if alias in found:
                raise InvalidValue(f"{alias} is a domain of its own too", field=field)
            if owner.setdefault(alias, canonical) != canonical:
                raise InvalidValue(f"{alias} belongs to {owner[alias]}", field=field)
            found[canonical][alias] = None
            if len(found[canonical]) > ALIASES_LIMIT:
                raise InvalidValue(
                    f"{canonical} has more than {ALIASES_LIMIT} aliases, which no "
                    "certificate can hold",
                    field=f"domains[{i}].aliases",
                )
    return tuple(Domain(name, tuple(aliases)) for name, aliases in found.items())
