"""What an app may ask of the proxy: the one table of keys, labels and bounds.

C{docs/reference/app-options.md} is this table for people; a test holds them equal.
C{haloy.yaml} writes times as C{1m30s} and sizes as C{10MB} (C{config.options} reads
those); labels carry plain seconds and bytes, so that no unit has to be agreed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from attrs import fields, frozen

from haloy.errors import InvalidValue
from haloy.model.app import Balance, Protocol, ProxyOptions

PREFIX = "dev.haloy.proxy."
HEADER_PREFIX = PREFIX + "header."

HEADERS_LIMIT = 32
HEADER_VALUE_LIMIT = 4096
DAY_S = 86400
YEAR_S = 366 * DAY_S


class Kind(Enum):
    """What a value counts."""

    SECONDS = "duration"
    BYTES = "size"
    COUNT = "number"
    CHOICE = "choice"


@frozen
class Option:
    """One option.

    C{key} is the key under C{proxy:}, C{field} the attribute of L{ProxyOptions}.
    C{least} and C{most} are inclusive, in seconds, bytes or as a count; C{whole}
    says that seconds are rounded down to whole ones. C{choices}: the
    value is one of these.
    """

    key: str
    field: str
    kind: Kind
    least: float = 0
    most: float = 0
    whole: bool = False
    choices: type[Enum] | None = None

    @property
    def label(self) -> str:
        """Return the label's name."""
        return PREFIX + self.key.replace("_", "-")

    def checked(self, number: float, field: str, shown: str) -> float | int:
        """Return C{number}. @raise InvalidValue: it is out of bounds."""
        if not self.least <= number <= self.most:
            raise InvalidValue(
                f"{shown} is out of range: {_plain(self.least)} to {_plain(self.most)}",
                field=field,
            )
        return number if self.kind is Kind.SECONDS and not self.whole else int(number)


OPTIONS = (
    Option("connect_timeout", "connect_timeout_s", Kind.SECONDS, 0.1, 60),
    Option("response_timeout", "response_timeout_s", Kind.SECONDS, 0.1, 3600),
    Option("body_timeout", "body_timeout_s", Kind.SECONDS, 1, 3600),
    Option("tunnel_idle", "tunnel_idle_s", Kind.SECONDS, 1, 7 * DAY_S),
    Option("drain_requests", "drain_requests_s", Kind.SECONDS, 0, 3600),
    Option("drain_tunnels", "drain_tunnels_s", Kind.SECONDS, 0, DAY_S),
    Option("max_body", "max_body_bytes", Kind.BYTES, 1, 1 << 50),
    Option("max_connections", "max_connections", Kind.COUNT, 1, 65535),
    Option("hsts", "hsts_max_age_s", Kind.SECONDS, 0, 2 * YEAR_S, whole=True),
    Option("balance", "balance", Kind.CHOICE, choices=Balance),
    Option("protocol", "protocol", Kind.CHOICE, choices=Protocol),
)

_DEFAULTS = {one.name: one.default for one in fields(ProxyOptions)}
_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

#: Fields that frame a message or belong to one connection (RFC 9110 section 7.6.1,
#: RFC 9112 section 6): an app cannot set them through the proxy.
_FRAMING = frozenset(
    {
        "connection",
        "content-length",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


def options_from_labels(labels: Mapping[str, str]) -> ProxyOptions:
    """Return what C{labels} ask of the proxy. @raise InvalidValue: names the label."""
    found: dict[str, object] = {}
    for option in OPTIONS:
        text = labels.get(option.label)
        if text is None:
            continue
        if option.choices is not None:
            found[option.field] = read_choice(option.choices, text, option.label)
            continue
        if _NUMBER.fullmatch(text) is None:
            raise InvalidValue(f"{text!r} is not a number", field=option.label)
        found[option.field] = option.checked(float(text), option.label, repr(text))
    headers = {
        key.removeprefix(HEADER_PREFIX): value
        for key, value in labels.items()
        if key.startswith(HEADER_PREFIX)
    }
    if headers:
        found["response_headers"] = read_headers(headers, HEADER_PREFIX)
    return ProxyOptions(**found)  # type: ignore[arg-type]  # each read by its own kind


def options_to_labels(options: ProxyOptions) -> dict[str, str]:
    """Return the labels of what differs from the defaults."""
    labels: dict[str, str] = {}
    for option in OPTIONS:
        value = getattr(options, option.field)
        if value == _DEFAULTS[option.field]:
            continue
        shown = str(value.value) if isinstance(value, Enum) else _plain(value)
        labels[option.label] = shown
    for name, text in options.response_headers:
        labels[HEADER_PREFIX + name] = text
    return labels


def read_choice(choices: type[Enum], text: str, field: str) -> Enum:
    """Return which of C{choices} is called C{text}. @raise InvalidValue: none is."""
    try:
        return choices(text)
    except ValueError:
        known = ", ".join(str(one.value) for one in choices)
        raise InvalidValue(f"{text!r} is not one of {known}", field=field) from None


def read_headers(headers: Mapping[str, str], place: str) -> tuple[tuple[str, str], ...]:
    """Return response headers in the order of their names.

    @param place: what the field of an error begins with, up to the name.
    @raise InvalidValue: a name or value that cannot be sent, or too many.
    """
    if len(headers) > HEADERS_LIMIT:
        raise InvalidValue(
            f"more than {HEADERS_LIMIT} response headers", field=place.rstrip(".")
        )
    seen: set[str] = set()
    for name, value in headers.items():
        field = place + name
        if _HEADER_NAME.fullmatch(name) is None:
            raise InvalidValue("is not a header name", field=field)
        if name.lower() in _FRAMING:
            raise InvalidValue("frames the message and cannot be set", field=field)
        if name.lower() in seen:
            raise InvalidValue("is given twice", field=field)
        seen.add(name.lower())
        if len(value) > HEADER_VALUE_LIMIT or _HEADER_VALUE.fullmatch(value) is None:
            raise InvalidValue(
                f"must be 1 to {HEADER_VALUE_LIMIT} visible ASCII characters, "
                "without spaces around them",
                field=field,
            )
    return tuple(sorted(headers.items()))


def _plain(number: float) -> str:
    """Return a number without exponent and without C{.0}."""
    text = f"{number:.9f}".rstrip("0").rstrip(".")
    return text or "0"
