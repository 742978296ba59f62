"""JSON Schemas of classes: what the API and the commands answer, for programs. Pure."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

import attrs
from attrs import define, field

from haloy.api.bodies import Rule
from haloy.api.shapes import Version
from haloy.config.app_file import Target
from haloy.config.json_schema import target_schema
from haloy.config.wire import wire_name

_PLAIN: Mapping[Any, Mapping[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
}


@define(eq=False)
class Schemas:
    """Schemas by the names of their classes, each made when it is first referred to.

    @ivar prefix: where they are in the document: what their names follow in a C{$ref}.
    @ivar closed: refuse keys that no field has.
    """

    prefix: str
    closed: bool = True
    _made: dict[str, Any] = field(factory=dict, init=False)

    def reference(self, kind: type) -> dict[str, Any]:
        """Return a reference to the schema of a class."""
        name = kind.__name__
        if name not in self._made:
            self._made[name] = {}  # what refers to itself ends here
            self._made[name] = self._target() if kind is Target else self._object(kind)
        return {"$ref": f"{self.prefix}{name}"}

    def by_name(self) -> dict[str, Any]:
        """Return all that were referred to, sorted."""
        return dict(sorted(self._made.items()))

    def _target(self) -> dict[str, Any]:
        schema, definitions = target_schema(self.prefix)
        self._made.update(definitions)
        return schema

    def _object(self, kind: type) -> dict[str, Any]:
        hints = get_type_hints(kind)
        properties, required = {}, []
        for one in attrs.fields(kind):
            rule: Rule | None = one.metadata.get("rule")
            key = rule.key if rule else one.metadata.get("key") or _key(kind, one.name)
            made = self.of(hints[one.name])
            if rule is not None:
                made = {**_ruled(made, rule), "description": rule.text}
            properties[key] = made
            if one.default is attrs.NOTHING:
                required.append(key)
        found = {
            "type": "object",
            "description": _sentence(kind),
            "properties": properties,
            "required": required,
        }
        return {**found, "additionalProperties": False} if self.closed else found

    def of(self, hint: Any) -> dict[str, Any]:
        """Return the schema of a type: a class, tuples of it, a union."""
        if isinstance(hint, types.UnionType):
            member, *others = [one for one in get_args(hint) if one is not type(None)]
            if others:
                return {"anyOf": [self.of(one) for one in (member, *others)]}
            made = self.of(member)
            return {**made, "type": [made["type"], "null"]}
        if get_origin(hint) is tuple:
            return {"type": "array", "items": self.of(get_args(hint)[0])}
        if get_origin(hint) is Mapping:
            return {"type": "object"}
        if attrs.has(hint):
            return self.reference(hint)
        return dict(_PLAIN[hint])


def _key(kind: type, name: str) -> str:
    # The one answer of the Go daemon with such keys.
    return name if issubclass(kind, Version) else wire_name(name, camel=True)


def _sentence(kind: type) -> str:
    text = " ".join((kind.__doc__ or "").split())
    return re.sub(r"C\{((?:[^{}]|\{[^{}]*\})*)\}", r"`\1`", text)


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
