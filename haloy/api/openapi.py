"""The OpenAPI 3.1 description of the API, from its routes and classes. Pure."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from haloy.api.bodies import Rule
from haloy.api.catalogue import ROUTES, Query, Route
from haloy.config.app_file import Target
from haloy.config.json_schema import target_schema
from haloy.config.wire import wire_name

_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}
_REASONS = {
    400: "The request is wrong; the text names the field.",
    401: "No valid token.",
    403: "The token does not allow it.",
    404: "There is no such thing.",
    405: "The path knows other methods.",
    409: "It does not fit what exists.",
    408: "The body comes too slowly.",
    413: "The body is too large.",
    429: "Too many requests; `Retry-After` says when to come again.",
    502: "The container takes no connection.",
    503: "Docker or the database is away.",
    507: "The disk is too full.",
}


def openapi(version: str) -> dict[str, Any]:
    """Return the document."""
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(
            route, schemas
        )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Haloy",
            "version": version,
            "description": "Deploys containers to a server and routes HTTPS to them.",
        },
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{_camel(route.path)}",
        "summary": route.text,
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.scope is not None:
        found["security"] = [{"token": []}]
    if route.body is not None:
        schema = _reference(route.body, schemas)
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}},
        }
    if route.raw:
        found["requestBody"] = {"required": True, "content": _raw(route.raw)}
    return found


def _camel(path: str) -> str:
    words = re.findall(r"[a-zA-Z0-9]+", path)
    return "".join(word[0].upper() + word[1:] for word in words)


def _raw(kind: str) -> dict[str, Any]:
    if kind != "multipart/form-data":
        return {kind: {"schema": {"type": "string", "format": "binary"}}}
    properties = {"image": {"type": "string", "format": "binary"}}
    schema = {"type": "object", "properties": properties, "required": ["image"]}
    return {kind: {"schema": schema}}


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_path = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)\}", route.path)
    ]
    return [
        *in_path,
        *(_parameter(one, "query") for one in route.query),
        *(_parameter(one, "header") for one in route.headers),
    ]


def _parameter(one: Query, place: str) -> dict[str, Any]:
    required = one.name == "X-Layer-Digest"
    schema: dict[str, Any] = {"type": one.kind}
    if one.kind == "integer":
        schema["minimum"] = 0
    return {
        "name": one.name,
        "in": place,
        "required": required,
        "description": one.text,
        "schema": schema,
    }


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.text}
    if route.answer is not None:
        schema = _reference(route.answer, schemas)
        good["content"] = {"application/json": {"schema": schema}}
    elif route.path.endswith(".json"):
        good["content"] = {"application/json": {"schema": {"type": "object"}}}
    elif route.stream is not None:
        _reference(route.stream, schemas)
        good["description"] = f"Events; each is a {route.stream.__name__}."
        good["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    found = {str(route.status): good}
    for status in _refusals(route):
        content = {"text/plain": {"schema": {"type": "string"}}}
        if status == 503 and route.path == "/health/ready":
            content = good["content"]
        found[str(status)] = {"description": _REASONS[status], "content": content}
    return found


def _refusals(route: Route) -> list[int]:
    found = {*route.refusals, 405}
    if route.scope is not None:
        found |= {400, 401, 403, 429}
    if "{" in route.path:
        found.add(404)  # also for a name that no path can have
    if route.needs_docker:
        found.add(503)
    if route.body is not None:
        found |= {408, 413}
    return sorted(found)


# --- classes ----------------------------------------------------------------------


def _reference(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    name = kind.__name__
    if name not in schemas:
        schemas[name] = {}
        schemas[name] = _target(schemas) if kind is Target else _object(kind, schemas)
    return {"$ref": f"#/components/schemas/{name}"}


def _target(schemas: dict[str, Any]) -> dict[str, Any]:
    schema, definitions = target_schema("#/components/schemas/")
    schemas.update(definitions)
    return schema


def _object(kind: type, schemas: dict[str, Any]) -> dict[str, Any]:
    hints = get_type_hints(kind)
    properties, required = {}, []
    for one in attrs.fields(kind):
        rule: Rule | None = one.metadata.get("rule")
        key = rule.key if rule else one.metadata.get("key") or _key(kind, one.name)
        made = _of_type(hints[one.name], schemas)
        if rule is not None:
            made = {**_ruled(made, rule), "description": rule.text}
        properties[key] = made
        if one.default is attrs.NOTHING:
            required.append(key)
    return {
        "type": "object",
        "description": _sentence(kind),
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _key(kind: type, name: str) -> str:
    return name if kind.__name__ == "Version" else wire_name(name, camel=True)


def _sentence(kind: type) -> str:
    text = " ".join((kind.__doc__ or "").split())
    return re.sub(r"C\{((?:[^{}]|\{[^{}]*\})*)\}", r"`\1`", text)


def _of_type(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if isinstance(hint, types.UnionType):
        member = _of_type(get_args(hint)[0], schemas)
        return {**member, "type": [member["type"], "null"]}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _of_type(get_args(hint)[0], schemas)}
    if get_origin(hint) is Mapping:
        return {"type": "object"}
    if attrs.has(hint):
        return _reference(hint, schemas)
    return dict(_PLAIN[hint])


def _ruled(made: dict[str, Any], rule: Rule) -> dict[str, Any]:
    """Return the schema of a request's field with what is asked of it."""
    is_list = made.get("type") == "array"
    least, most = ("minItems", "maxItems") if is_list else ("minimum", "maximum")
    found = dict(made)
    of_text: dict[str, Any] = {}
    if rule.least is not None:
        found[least] = rule.least
    if rule.most is not None:
        found[most] = rule.most
    if rule.pattern:
        of_text["pattern"] = f"^{rule.pattern}$"
    if rule.choices:
        of_text["enum"] = list(rule.choices)
    if rule.filled:
        of_text["pattern"] = r"\S"
    if rule.format:
        of_text["format"] = rule.format
    if is_list:
        return {**found, "items": {**found["items"], **of_text}}
    return {**found, **of_text}
