"""C{acme:} of C{haloyd.yaml}: whom certificates come from, and how names are proven."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from haloy.config.section import (
    Section,
    as_endpoint,
    as_https,
    as_text,
    as_texts,
    between_s,
)
from haloy.errors import InvalidValue

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
CHALLENGES = ("http-01", "tls-alpn-01", "dns-01")
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1", "hmac-md5")


def _hidden(_: object) -> str:
    return "***"


@frozen
class EabSettings:
    """An account outside that the CA wants to see (RFC 8555 section 7.3.4)."""

    kid: str
    hmac_key: bytes = field(repr=_hidden)


@frozen
class AuthoritySettings:
    """A certificate authority; C{ca_file} is what to trust it by (C{""}: system)."""

    directory: str
    ca_file: str = ""
    email: str = ""
    profile: str = ""
    eab: EabSettings | None = None


@frozen
class AcmeDnsSettings:
    """Who writes TXT records for DNS-01.

    C{provider} is C{exec} (C{command}), C{rfc2136} (C{server}, C{zone}, the TSIG
    key) or the name of one of dns-lexicon's (C{options}). C{wait_s} is how long to
    wait at most until a record is seen.
    """

    provider: str
    command: tuple[str, ...] = ()
    server: str = ""
    zone: str = ""
    key_name: str = ""
    key_secret: str = field(default="", repr=_hidden)
    key_algorithm: str = ALGORITHMS[0]
    options: Mapping[str, str] = field(factory=dict, repr=_hidden)
    wait_s: float = 120.0


@frozen
class AcmeSettings:
    """The preferred authority, one for when it is away, and how names are proven."""

    directory: str = LETS_ENCRYPT
    ca_file: str = ""
    email: str = ""
    profile: str = ""
    eab: EabSettings | None = None
    challenges: tuple[str, ...] = CHALLENGES
    fallback: AuthoritySettings | None = None
    dns: AcmeDnsSettings | None = None

    def authorities(self) -> tuple[AuthoritySettings, ...]:
        """Return the authorities, the preferred one first."""
        first = AuthoritySettings(
            self.directory, self.ca_file, self.email, self.profile, self.eab
        )
        return (first,) if self.fallback is None else (first, self.fallback)


def parse_acme(section: Section) -> AcmeSettings:
    """Return the settings of C{section}. @raise ConfigError: with file and line."""
    own = ("directory", "ca_file", "email", "profile", "eab")
    section.only(*own, "challenges", "fallback", "dns")
    first = _authority(section, LETS_ENCRYPT)
    fallback = None
    if section.values.get("fallback") is not None:
        inner = section.section("fallback")
        inner.only(*own)
        if inner.values.get("directory") is None:
            raise inner.error("", "needs a directory")
        fallback = _authority(inner, "")
        if fallback.directory == first.directory:
            raise inner.error("directory", "is the same as the first one")
    dns = None
    if section.values.get("dns") is not None:
        dns = _dns(section.section("dns"))
    challenges = section.get("challenges", CHALLENGES, _challenges)
    if challenges == ("dns-01",) and dns is None:
        raise section.error("challenges", "dns-01 alone needs acme.dns")
    return AcmeSettings(
        first.directory,
        first.ca_file,
        first.email,
        first.profile,
        first.eab,
        challenges,
        fallback,
        dns,
    )


def _email(value: Any, key: str) -> str:
    found = as_text(value, key)
    name, _, host = found.partition("@")
    if found and (not name or not host or any(one.isspace() for one in found)):
        raise InvalidValue(f"{found!r} is not an e-mail address", field=key)
    return found


def _authority(section: Section, directory: str) -> AuthoritySettings:
    eab = None
    if section.values.get("eab") is not None:
        eab = _eab(section.section("eab"))
    return AuthoritySettings(
        directory=section.get("directory", directory, as_https),
        ca_file=section.get("ca_file", "", as_text),
        email=section.get("email", "", _email),
        profile=section.get("profile", "", as_text),
        eab=eab,
    )


def _eab(section: Section) -> EabSettings:
    section.only("kid", "hmac_key")
    kid = section.get("kid", "", as_text)
    hmac_key = section.get("hmac_key", b"", _base64url)
    if not kid or not hmac_key:
        raise section.error("", "needs kid and hmac_key")
    return EabSettings(kid, hmac_key)


def _dns(section: Section) -> AcmeDnsSettings:
    section.only(
        "provider",
        "command",
        "server",
        "zone",
        "key_name",
        "key_secret",
        "key_algorithm",
        "options",
        "wait",
    )
    settings = AcmeDnsSettings(
        provider=section.get("provider", "", as_text),
        command=section.get("command", (), as_texts),
        server=section.get("server", "", as_endpoint),
        zone=section.get("zone", "", as_text).strip("."),
        key_name=section.get("key_name", "", as_text),
        key_secret=section.get("key_secret", "", _secret),
        key_algorithm=section.get("key_algorithm", ALGORITHMS[0], _algorithm),
        options=section.get("options", {}, _options),
        wait_s=section.get("wait", 120.0, between_s(0, 3600)),
    )
    wanted = {
        "": ("provider",),
        "exec": ("command",),
        "rfc2136": ("server", "zone"),
    }.get(settings.provider, ())
    for key in wanted:
        if not getattr(settings, key):
            raise section.error("", f"needs {key}")
    if bool(settings.key_name) != bool(settings.key_secret):
        raise section.error("", "needs both key_name and key_secret, or neither")
    return settings


def _challenges(value: Any, key: str) -> tuple[str, ...]:
    found = as_texts(value, key)
    for one in found:
        if one not in CHALLENGES:
            raise InvalidValue(
                f"{one!r} is not one of {', '.join(CHALLENGES)}", field=key
            )
    if not found or len(set(found)) != len(found):
        raise InvalidValue("must name at least one, and none twice", field=key)
    return found


def _algorithm(value: Any, key: str) -> str:
    if value not in ALGORITHMS:
        raise InvalidValue(
            f"{value!r} is not one of {', '.join(ALGORITHMS)}", field=key
        )
    return str(value)


def _secret(value: Any, key: str) -> str:
    if not isinstance(value, str):
        raise InvalidValue("must be text, in quotes", field=key)
    return value


def _base64url(value: Any, key: str) -> bytes:
    """Return the bytes of C{value}; the error shows nothing of it."""
    found = _secret(value, key).rstrip("=")
    try:
        return base64.b64decode(
            found + "=" * (-len(found) % 4), altchars=b"-_", validate=True
        )
    except (binascii.Error, ValueError):
        raise InvalidValue("is not base64url", field=key) from None


def _options(value: Any, key: str) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidValue("must be a mapping", field=key)
    for name, one in value.items():
        if not isinstance(name, str) or not isinstance(one, str):
            raise InvalidValue(f"{name!r} must be text, in quotes", field=key)
    return dict(value)
