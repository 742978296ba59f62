"""A JSON Schema (draft 2020-12) of C{haloy.yaml}, made from the classes that read it.

Editors complete and check by it. It is no stricter than the reader: what only a merged
target can tell (a missing name, static naming with two replicas) is left to
C{haloy validate-config}.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from haloy.config.app_file import AppFile, ImageConfig, Target
from haloy.config.key_help import Help, help_of
from haloy.config.wire import wire_name

_PLAIN: Mapping[type, Mapping[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
}


def json_schema(*, camel: bool) -> dict[str, Any]:
    """Return the schema of C{haloy.yaml} and C{.toml}, with C{camel} of C{.json}."""
    definitions: dict[str, Any] = {}
    root = _object(AppFile, camel, definitions)
    root["patternProperties"] = {"^x-": {}}
    if camel:
        root["properties"]["$schema"] = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Haloy configuration ({'JSON' if camel else 'YAML and TOML'})",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def target_schema(prefix: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of a target as the API takes it, and those it refers to.

    @param prefix: where these will be: what their names follow in a reference.
    """
    definitions: dict[str, Any] = {}
    made = _object(Target, camel=True, definitions=definitions)
    moved = json.loads(
        json.dumps([made, definitions]).replace('"#/$defs/', f'"{prefix}')
    )
    return moved[0], moved[1]


def _object(kind: type, camel: bool, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    members = attrs.fields(kind)
    properties = {
        wire_name(one.name, camel): _property(
            kind, one.name, hints[one.name], camel, definitions
        )
        for one in members
    }
    required = [
        wire_name(one.name, camel) for one in members if one.default is attrs.NOTHING
    ]
    made = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return made | ({"required": required} if required else {})


def _property(
    owner: type, name: str, hint: Any, camel: bool, definitions: dict[str, Any]
) -> dict[str, Any]:
    told = help_of(owner, name)
    made = _of_type(hint, camel, definitions)
    if issubclass(owner, Target) and name == "port":
        made = {"type": ["string", "integer"], "minimum": 1, "maximum": 65535}
    return {**made, **_bounds(told), "description": _text(told)}


def _bounds(told: Help) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if told.choices:
        said["enum"] = [*told.choices, None]
    if told.least is not None:
        said["minimum"] = told.least
    if told.most is not None:
        said["maximum"] = told.most
    return said


def _text(told: Help) -> str:
    return f"{told.text} Default: {told.default}." if told.default else told.text


def _of_type(hint: Any, camel: bool, definitions: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of one annotation; what is optional may be null."""
    if isinstance(hint, types.UnionType):
        (member,) = [one for one in get_args(hint) if one is not types.NoneType]
        return _nullable(_of_type(member, camel, definitions))
    if get_origin(hint) is tuple:
        items = _of_type(get_args(hint)[0], camel, definitions)
        return {"type": "array", "items": items}
    if get_origin(hint) is Mapping:
        value = _of_type(get_args(hint)[1], camel, definitions)
        value = _nullable(value) if get_args(hint)[1] is Target else value
        return {"type": "object", "additionalProperties": value}
    if attrs.has(hint):
        return _reference(hint, camel, definitions)
    return dict(_PLAIN[hint])


def _reference(kind: type, camel: bool, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # keeps a class that holds itself finite
        definitions[kind.__name__] = _object(kind, camel, definitions)
    reference = {"$ref": f"#/$defs/{kind.__name__}"}
    if kind is ImageConfig:
        return {"anyOf": [{"type": "string"}, reference]}
    return reference


def _nullable(made: dict[str, Any]) -> dict[str, Any]:
    """Return C{made} for a value that may be null, which counts as unset."""
    if "anyOf" in made:
        return {"anyOf": [*made["anyOf"], {"type": "null"}]}
    if "$ref" in made:
        return {"anyOf": [made, {"type": "null"}]}
    return {**made, "type": [made["type"], "null"]}
