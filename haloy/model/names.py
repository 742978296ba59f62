"""Names that travel: apps, domains, deployments. Parsing is the only way to make one.

Rules: C{spec/config.md} sections 5.1 and 5.2, C{spec/labels.md} section 3. Every
parser takes the public name of the field, for the error a person reads.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NewType

from haloy.errors import InvalidValue

AppName = NewType("AppName", str)
DomainName = NewType("DomainName", str)
DeploymentId = NewType("DeploymentId", str)

_APP = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LAST_LABEL = re.compile(r"([a-z0-9]{2,63}|xn--[a-z0-9-]{1,57}[a-z0-9])")
_DEPLOYMENT = re.compile(r"[a-z0-9][a-z0-9_.-]{7,127}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}")
_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: A name becomes part of container names and image tags (128 characters at most).
APP_NAME_LIMIT = 63
DOMAIN_LIMIT = 253
HEALTH_PATH_LIMIT = 2048
#: The network that every app is on, unless its file names another one.
DEFAULT_NETWORK = "haloy"


def parse_app_name(text: str, field: str = "name") -> AppName:
    """Return C{text} as the name of an app: C{[a-zA-Z0-9][a-zA-Z0-9_-]*}.

    @raise InvalidValue: it is none, or is longer than 63 characters.
    """
    if _APP.fullmatch(text) is None:
        raise InvalidValue(
            f"{text!r} is not an app name: use letters, digits, - and _, "
            "beginning with a letter or digit",
            field=field,
        )
    if len(text) > APP_NAME_LIMIT:
        raise InvalidValue(
            f"app name is longer than {APP_NAME_LIMIT} characters", field=field
        )
    return AppName(text)


def parse_domain_name(
    text: str, field: str = "domain", *, wildcard: bool = False
) -> DomainName:
    """Return C{text} as a host name: lower case, non-ASCII as IDNA 2008 (RFC 5891).

    At least two labels (or exactly C{localhost}), no trailing dot, no underscore;
    with C{wildcard}, C{*.} may stand in front of two labels or more.

    @raise InvalidValue: it is no such name.
    """
    name = text.lower()
    star = ""
    if wildcard and name.startswith("*."):
        star, name = "*.", name[2:]
    try:
        name = ascii_name(name)
    except ValueError as problem:
        raise InvalidValue(
            f"{text!r} is not a domain: {problem}", field=field
        ) from problem
    problem_text = _domain_problem(name, bool(star))
    if problem_text:
        raise InvalidValue(f"{text!r} is not a domain: {problem_text}", field=field)
    return DomainName(star + name)


def ascii_name(name: str) -> str:
    """Return C{name}, its labels beyond ASCII as IDNA 2008 has them (RFC 5891).

    @raise ValueError: there is no such form of it.
    """
    if name.isascii():
        return name
    import idna  # noqa: PLC0415 - large, and for few names

    return idna.encode(name, uts46=True).decode("ascii")


def _domain_problem(name: str, wildcard: bool) -> str:
    """Return what is wrong with the lower-case ASCII C{name}; nothing: C{""}."""
    if name == "localhost" and not wildcard:
        return ""
    if not 1 <= len(name) <= DOMAIN_LIMIT:
        return f"it must have 1 to {DOMAIN_LIMIT} characters"
    if name.endswith("."):
        return "leave the dot at the end out"
    if "*" in name:
        return "a wildcard is not allowed here"
    labels = name.split(".")
    if len(labels) < 2:
        return "it needs at least two parts, as in example.com"
    for label in labels[:-1]:
        if _LABEL.fullmatch(label) is None:
            return f"{label!r} may have letters, digits and inner hyphens only"
    if _LAST_LABEL.fullmatch(labels[-1]) is None:
        return f"it cannot end in {labels[-1]!r}"
    return ""


def parse_deployment_id(text: str, field: str = "deploymentID") -> DeploymentId:
    """Return C{text} as the id of a deployment that we are asked to make.

    It goes into container names, tags and labels: C{[a-z0-9][a-z0-9_.-]{7,127}},
    which keeps ULIDs and ids made by hand.

    @raise InvalidValue: it is none.
    """
    if _DEPLOYMENT.fullmatch(text) is None:
        raise InvalidValue(
            "a deployment id has 8 to 128 lower-case letters, digits, - _ or . "
            "and begins with a letter or digit",
            field=field,
        )
    return DeploymentId(text)


def new_deployment_id(now_ms: int, randomness: bytes) -> DeploymentId:
    """Return a lower-case ULID: C{now_ms} since the epoch and 10 random bytes."""
    from ulid import ULID  # noqa: PLC0415 - only who deploys has use for it

    stamp = now_ms.to_bytes(6, "big")
    return DeploymentId(str(ULID(stamp + randomness)).lower())


def deployment_time(identifier: str) -> datetime | None:
    """Return when a ULID was made; C{None} for an id that is no ULID."""
    if _ULID.fullmatch(identifier) is None:
        return None
    from ulid import ULID  # noqa: PLC0415 - as above

    # A ULID of 128 bits begins with 0 to 7; the time of later ones than the year
    # 9999 is no date.
    milliseconds = ULID.from_str(identifier.upper()).milliseconds
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return None


def parse_health_path(text: str, field: str) -> str:
    """Return C{text} as what a probe asks for: a path, C{/} and visible ASCII.

    C{grpc}, or C{grpc:} and the name of a service, stand for grpc.health.v1.

    @raise InvalidValue: it is none.
    """
    if not text.startswith(("/", "grpc:")) and text != "grpc":
        raise InvalidValue(
            f"{text!r} must begin with /, or be grpc or grpc:SERVICE", field=field
        )
    if not all("!" <= character <= "~" for character in text):
        raise InvalidValue(
            "must be visible ASCII (percent-encode the rest)", field=field
        )
    if len(text) > HEALTH_PATH_LIMIT:
        raise InvalidValue(
            f"is longer than {HEALTH_PATH_LIMIT} characters", field=field
        )
    return text


def tag_problem(app: str) -> str:
    """Return why C{<app>:<deployment id>} cannot be an image tag, C{""}: it can.

    The name becomes a repository (OCI distribution specification, "Pulling
    manifests"): lower case, no separator at the end, no three underscores.
    """
    if _REPOSITORY.fullmatch(app) is not None:
        return ""
    return (
        f"{app!r} cannot name an image: use lower-case letters and digits with single "
        "separators between them, or set image.history.strategy: none"
    )
