"""C{disk}, C{log}, C{metrics} and C{manhole} of C{haloyd.yaml}. Pure."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from haloy.config.section import (
    Section,
    as_boolean,
    as_endpoint,
    as_text,
    as_texts,
    one_of,
    whole,
)
from haloy.config.units import parse_size
from haloy.errors import InvalidValue

#: What of a request may be left out of the access log.
REDACTABLE = ("query", "client", "user_agent")

_LOOPBACK = ("127.0.0.1:", "[::1]:", "localhost:")


@frozen
class DiskSettings:
    """When a disk is too full, in percent used; C{keep} deployments an app stay."""

    warn_percent: int = 85
    prune_percent: int = 95
    keep: int = 2


@frozen
class LogSettings:
    """How haloyd logs, and whether and how requests are logged.

    C{access_file} C{""} is C{logs/access.log} in the data directory, C{-} the
    daemon's own output. C{access_percent} of the requests that went well are
    written; those that did not always are. One older file of C{access_max_bytes}
    is kept.
    """

    format: str = "auto"
    access: str = "off"
    access_file: str = ""
    access_percent: int = 100
    access_redact: tuple[str, ...] = ("query",)
    access_max_size: int = 100 << 20


@frozen
class MetricsSettings:
    """Whether C{/metrics} may be read on loopback without a token."""

    enabled: bool = True
    open_on_loopback: bool = True


@frozen
class ManholeSettings:
    """The Python prompt inside the daemon: C{off}, C{unix} or C{ssh}."""

    mode: str = "off"
    listen: str = "127.0.0.1:9923"
    authorized_keys: str = ""


def parse_disk(section: Section) -> DiskSettings:
    """Return C{disk}. @raise ConfigError: with file and line."""
    section.only("warn_percent", "prune_percent", "keep")
    default = DiskSettings()
    found = DiskSettings(
        warn_percent=section.get("warn_percent", default.warn_percent, whole(1, 100)),
        prune_percent=section.get(
            "prune_percent", default.prune_percent, whole(1, 100)
        ),
        keep=section.get("keep", default.keep, whole(1, 1000)),
    )
    if found.prune_percent < found.warn_percent:
        raise section.error(
            "prune_percent", f"is below warn_percent ({found.warn_percent})"
        )
    return found


def parse_log(section: Section) -> LogSettings:
    """Return C{log}. @raise ConfigError: with file and line."""
    section.only(
        "format",
        "access",
        "access_file",
        "access_percent",
        "access_redact",
        "access_max_size",
    )
    default = LogSettings()
    return LogSettings(
        format=section.get(
            "format", default.format, one_of("auto", "text", "json", "journal")
        ),
        access=section.get("access", default.access, _access),
        access_file=section.get("access_file", default.access_file, _path),
        access_percent=section.get(
            "access_percent", default.access_percent, whole(0, 100)
        ),
        access_redact=section.get("access_redact", default.access_redact, _redacted),
        access_max_size=section.get("access_max_size", default.access_max_size, _size),
    )


def parse_metrics(section: Section) -> MetricsSettings:
    """Return C{metrics}. @raise ConfigError: with file and line."""
    section.only("enabled", "open_on_loopback")
    return MetricsSettings(
        enabled=section.get("enabled", True, as_boolean),
        open_on_loopback=section.get("open_on_loopback", True, as_boolean),
    )


def parse_manhole(section: Section) -> ManholeSettings:
    """Return C{manhole}. @raise ConfigError: with file and line."""
    section.only("mode", "listen", "authorized_keys")
    default = ManholeSettings()
    found = ManholeSettings(
        mode=section.get("mode", default.mode, _mode),
        listen=section.get("listen", default.listen, _loopback),
        authorized_keys=section.get("authorized_keys", "", _path),
    )
    if found.mode == "ssh" and not found.authorized_keys.startswith("/"):
        raise section.error(
            "authorized_keys",
            "mode ssh needs a file of public keys, by its absolute path",
        )
    return found


def _access(value: Any, key: str) -> str:
    # YAML reads a bare `off` as false.
    return one_of("off", "json", "combined")("off" if value is False else value, key)


def _mode(value: Any, key: str) -> str:
    return one_of("off", "unix", "ssh")("off" if value is False else value, key)


def _path(value: Any, key: str) -> str:
    found = as_text(value, key)
    if found not in ("", "-") and not found.startswith("/"):
        raise InvalidValue(f"{found!r} is not an absolute path", field=key)
    return found


def _redacted(value: Any, key: str) -> tuple[str, ...]:
    return tuple(one_of(*REDACTABLE)(one, key) for one in as_texts(value, key))


def _size(value: Any, key: str) -> int:
    return parse_size(as_text(value, key), key, 1 << 20, 1 << 40)


def _loopback(value: Any, key: str) -> str:
    found = as_endpoint(value, key)
    if not found.startswith(_LOOPBACK):
        raise InvalidValue(
            f"{found!r} is not on loopback; the manhole is a root shell", field=key
        )
    return found
