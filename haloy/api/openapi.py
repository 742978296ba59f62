"""The OpenAPI 3.1 description of the API, from its routes and classes. Pure."""

from __future__ import annotations

import re
from typing import Any

from haloy.api.catalogue import ROUTES, Query, Route
from haloy.api.class_schema import Schemas

_REASONS = {
    400: "The request is wrong; the text names the field.",
    401: "No valid token.",
    403: "The token does not allow it, or the policy of the server.",
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
    schemas = Schemas("#/components/schemas/")
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
            "schemas": schemas.by_name(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": f"{route.method.lower()}{_camel(route.path)}",
        "summary": route.text,
        "parameters": _parameters(route),
        "responses": _responses(route, schemas),
    }
    if route.scope is not None:
        found["security"] = [{"token": []}]
    if route.body is not None:
        schema = schemas.reference(route.body)
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


def _responses(route: Route, schemas: Schemas) -> dict[str, Any]:
    good: dict[str, Any] = {"description": route.text}
    if route.answer is not None:
        schema = schemas.reference(route.answer)
        good["content"] = {"application/json": {"schema": schema}}
    elif route.path.endswith(".json"):
        good["content"] = {"application/json": {"schema": {"type": "object"}}}
    elif route.stream is not None:
        schemas.reference(route.stream)
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
