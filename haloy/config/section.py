"""One mapping of a file that somebody wrote, and how its values are read."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen

from haloy.config.document import Document
from haloy.config.units import parse_duration
from haloy.errors import ConfigError, InvalidValue


@frozen
class Section:
    """One mapping of the file, and where it stands."""

    document: Document
    where: tuple[str, ...]
    values: Any = field(validator=lambda one, _, value: one.check_mapping(value))

    def check_mapping(self, value: object) -> None:
        """Refuse anything but a mapping."""
        if not isinstance(value, Mapping):
            raise self.error("", "must be a mapping")

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

    def section(self, key: str) -> Section:
        """Return a mapping inside; absent or null is empty."""
        value = self.values.get(key)
        return Section(
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


# --- values: each raises InvalidValue ----------------------------------------


def as_text(value: Any, key: str) -> str:
    """Return C{value}, a text."""
    if not isinstance(value, str):
        raise InvalidValue(f"must be text, not {value!r}", field=key)
    return value


def as_texts(value: Any, key: str) -> tuple[str, ...]:
    """Return C{value}, a list of texts."""
    if not isinstance(value, list):
        raise InvalidValue(f"must be a list, not {value!r}", field=key)
    return tuple(as_text(one, key) for one in value)


def as_boolean(value: Any, key: str) -> bool:
    """Return C{value}, true or false."""
    if not isinstance(value, bool):
        raise InvalidValue(f"must be true or false, not {value!r}", field=key)
    return value


def whole(least: int, most: int) -> Callable[[Any, str], int]:
    """Return the reader of a whole number, bounds inclusive."""

    def read(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidValue(f"must be a whole number, not {value!r}", field=key)
        if not least <= value <= most:
            raise InvalidValue(f"must be {least} to {most}, not {value}", field=key)
        return value

    return read


def between_s(least_s: float, most_s: float) -> Callable[[Any, str], float]:
    """Return the reader of a duration, bounds in seconds, inclusive."""

    def read(value: Any, key: str) -> float:
        if not isinstance(value, str):
            raise InvalidValue(
                f"must be a duration such as 15s or 1m30s, not {value!r}", field=key
            )
        return parse_duration(value, key, least_s, most_s)

    return read


def one_of(*known: str) -> Callable[[Any, str], str]:
    """Return the reader of one of C{known}."""

    def read(value: Any, key: str) -> str:
        if value not in known:
            wanted = f"one of {', '.join(known)}" if len(known) > 1 else known[0]
            raise InvalidValue(f"must be {wanted}, not {value!r}", field=key)
        return str(value)

    return read


def as_endpoint(value: Any, key: str) -> str:
    """Return C{value}, C{HOST:PORT}, C{:PORT} or C{[IPV6]:PORT}."""
    found = as_text(value, key)
    host, colon, port = found.rpartition(":")
    bare_ipv6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    digits = port.isascii() and port.isdigit() and len(port) <= 5
    if not colon or bare_ipv6 or not digits or int(port) > 65535:
        raise InvalidValue(
            f"{found!r} is not HOST:PORT, :PORT or [IPV6]:PORT", field=key
        )
    return found


def as_https(value: Any, key: str) -> str:
    """Return C{value}, a URL with TLS."""
    found = as_text(value, key)
    if not found.startswith("https://"):
        raise InvalidValue("must begin with https://", field=key)
    return found
