"""The bodies of requests: one class each, read and described by the same fields. Pure.

Names are taken in any casing, as the Go daemon takes them; unknown ones are refused;
C{null} counts as not given. Nothing is coerced.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from haloy.config.app_file import Target
from haloy.config.wire import target_from_json
from haloy.errors import InvalidValue

T = TypeVar("T")
SCOPES = ("read", "deploy", "exec", "admin")
DIGEST = "sha256:[0-9a-f]{64}"
DEPLOYMENT = "[a-z0-9][a-z0-9_.-]{7,127}"
TOKEN_NAME = "[a-zA-Z0-9][a-zA-Z0-9_.-]{0,63}"  # noqa: S105  (a pattern)
LARGEST = (1 << 63) - 1


@frozen
class Rule:
    """What a field takes; for a list C{pattern} and C{choices} are of its members."""

    key: str
    text: str
    least: int | None = None
    most: int | None = None
    pattern: str = ""
    choices: tuple[str, ...] = ()
    filled: bool = False
    format: str = ""


def _member(key: str, text: str, default: Any = attrs.NOTHING, **rules: Any) -> Any:
    return attrs.field(default=default, metadata={"rule": Rule(key, text, **rules)})


def rule_of(attribute: attrs.Attribute[Any]) -> Rule:
    """Return what a field takes."""
    found: Rule = attribute.metadata["rule"]
    return found


# --- the bodies -------------------------------------------------------------------


@frozen
class DeployBody:
    """C{POST /v1/deploy}."""

    id: str = _member("deploymentID", "Made by the client.", pattern=DEPLOYMENT)
    target: Target = _member("targetConfig", "The app, with resolved secrets.")
    stored: Mapping[str, Any] | None = _member(
        "rollbackDeployConfig", "The same, unresolved; kept for rollbacks.", None
    )


@frozen
class RollbackBody:
    """C{POST /v1/rollback}."""

    target: str = _member(
        "targetDeploymentID", "The deployment to go back to.", filled=True
    )
    new: str = _member("newDeploymentID", "Made by the client.", pattern=DEPLOYMENT)
    config: Target = _member("newTargetConfig", "The app, with resolved secrets.")


@frozen
class ExecBody:
    """C{POST /v1/exec/{app}}."""

    command: tuple[str, ...] = _member(
        "command", "Program and arguments.", least=1, most=1000, pattern=r"[^\x00]*"
    )
    container: str = _member(
        "containerId", "A container of the app, by id or its beginning.", ""
    )
    everywhere: bool = _member("allContainers", "In all containers.", False)


@frozen
class DigestsBody:
    """C{POST /v1/images/layers/check}."""

    digests: tuple[str, ...] = _member(
        "digests", "Layers by their content.", least=1, most=10_000, pattern=DIGEST
    )


@frozen(kw_only=True)
class ManifestBody:
    """One entry of C{manifest.json} in a C{docker save} archive."""

    config: str = _member("Config", "The path of the configuration.", "")
    tags: tuple[str, ...] = _member("RepoTags", "The image's names.", ())
    layers: tuple[str, ...] = _member(
        "Layers", "The layers' paths, which say their digests.", least=1
    )


@frozen
class AssembleBody:
    """C{POST /v1/images/layers/assemble}."""

    ref: str = _member("imageRef", "The image's name.", filled=True)
    config: str = _member("config", "The configuration in base64.", format="byte")
    manifest: ManifestBody = _member("manifest", "What the image is made of.")


@frozen
class SpaceBody:
    """C{POST /v1/images/disk-space-check}; either the first or the third."""

    whole: int = _member(
        "uploadSizeBytes", "Of a whole archive.", 0, least=0, most=LARGEST
    )
    layers: int = _member(
        "layerUploadBytes", "Of the layers to be sent.", 0, least=0, most=LARGEST
    )
    assembled: int = _member(
        "assembledImageSizeBytes", "Of all layers.", 0, least=0, most=LARGEST
    )


@frozen
class PruneBody:
    """C{POST /v1/images/prune}."""

    app: str = _member("appName", "The app.", filled=True)
    keep: int = _member(
        "keep", "How many of the newest stay.", 0, least=0, most=LARGEST
    )
    apply: bool = _member("apply", "Remove them; else only tell.", False)


@frozen
class LoginBody:
    """C{POST /v1/registries/login}."""

    server: str = _member("server", "The registry's host.", filled=True)
    username: str = _member("username", "Who logs in.", filled=True)
    password: str = _member("password", "Kept on the server.", filled=True)


@frozen
class LogoutBody:
    """C{POST /v1/registries/logout}."""

    server: str = _member("server", "The registry's host.", filled=True)


@frozen
class TokenBody:
    """C{POST /v1/tokens}."""

    name: str = _member("name", "Shown in lists and the trail.", pattern=TOKEN_NAME)
    scopes: tuple[str, ...] = _member(
        "scopes", "What it may; `deploy` and `exec` may read.", least=1, choices=SCOPES
    )
    apps: tuple[str, ...] = _member("apps", "Only these apps; none: all.", ())
    expires: str | None = _member(
        "expiresAt", "When it ends, with a time zone.", None, format="date-time"
    )


@frozen
class PemBody:
    """C{POST /v1/certificates/{name}}."""

    pem: str = _member("pem", "Key and chain.", filled=True)


# --- reading ----------------------------------------------------------------------


def read_body(found: object, kind: type[T], path: str = "") -> T:
    """Return a body as a C{kind}. @raise InvalidValue: names the field."""
    if not isinstance(found, Mapping):
        raise InvalidValue("must be a JSON object", field=path or "body")
    members = {
        rule_of(one).key.lower(): one
        for one in attrs.fields(kind)  # type: ignore[arg-type]  # an attrs class
    }
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in found.items():
        attribute = members.get(str(key).lower())
        if attribute is None:
            known = ", ".join(rule_of(one).key for one in members.values())
            raise InvalidValue(f"unknown field; known: {known}", field=_at(path, key))
        if value is not None:
            rule = rule_of(attribute)
            where = _at(path, rule.key)
            values[attribute.name] = _read(value, hints[attribute.name], rule, where)
    for one in members.values():
        if one.default is attrs.NOTHING and one.name not in values:
            raise InvalidValue("is missing", field=_at(path, rule_of(one).key))
    return kind(**values)


def _at(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _read(value: object, hint: Any, rule: Rule, where: str) -> Any:
    if isinstance(hint, types.UnionType):
        hint = get_args(hint)[0]
    if hint is Target:
        return target_from_json(value, where)
    if attrs.has(hint):
        return read_body(value, hint, where)
    if get_origin(hint) is tuple:
        return _list(value, rule, where)
    if hint is str:
        return _text(value, rule, where)
    if hint is int:
        return _number(value, rule, where)
    if hint is bool:
        if not isinstance(value, bool):
            raise InvalidValue("must be true or false", field=where)
        return value
    if not isinstance(value, Mapping):
        raise InvalidValue("must be an object", field=where)
    return value


def _list(value: object, rule: Rule, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InvalidValue("must be a list of texts", field=where)
    if rule.least is not None and len(value) < rule.least:
        raise InvalidValue("cannot be empty", field=where)
    if rule.most is not None and len(value) > rule.most:
        raise InvalidValue(f"has more than {rule.most} entries", field=where)
    return tuple(_text(one, rule, f"{where}[{i}]") for i, one in enumerate(value))


def _text(value: object, rule: Rule, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidValue("must be text", field=where)
    if rule.filled and not value.strip():
        raise InvalidValue("must be text, and not empty", field=where)
    if rule.pattern and re.fullmatch(rule.pattern, value, re.DOTALL) is None:
        raise InvalidValue(f"must match {rule.pattern}", field=where)
    if rule.choices and value not in rule.choices:
        raise InvalidValue(f"must be one of {', '.join(rule.choices)}", field=where)
    return value


def _number(value: object, rule: Rule, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValue("must be a whole number", field=where)
    if rule.least is not None and value < rule.least:
        raise InvalidValue(f"must be {rule.least} or more", field=where)
    if rule.most is not None and value > rule.most:
        raise InvalidValue(f"must be {rule.most} or less", field=where)
    return value
