"""Text -> plain mappings and lists, and where each key stands.

YAML by its safe loader with limits (1 MiB, no alias bombs, no duplicate keys);
JSON and TOML by the standard library. Knows nothing of what keys mean.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import yaml
from attrs import field, frozen

from haloy.config.mistakes import context, yaml_mistake
from haloy.errors import ConfigError

SIZE_LIMIT_BYTES = 1 << 20
NODES_LIMIT = 50_000
_TOO_DEEP = "is nested too deeply"
_TOO_LONG = "has a number of too many digits"  # for Python's int

#: Line and column, both from 1.
Place = tuple[int, int]


@frozen
class Document:
    """A parsed file: its value; line and column (from 1) of the keys that are known."""

    value: Any
    path: str
    places: Mapping[tuple[str | int, ...], Place] = field(factory=dict)

    def line(self, where: tuple[str | int, ...]) -> int:
        """Return the line of the deepest part of C{where} that is known, 0: none."""
        return self.place(where)[0]

    def place(self, where: tuple[str | int, ...]) -> Place:
        """Return line and column of the deepest part of C{where} that is known."""
        for end in range(len(where), -1, -1):
            if where[:end] in self.places:
                return self.places[where[:end]]
        return 0, 0

    def error(self, reason: str, where: tuple[str | int, ...]) -> ConfigError:
        """Return the error to raise about what stands at C{where}."""
        line, column = self.place(where)
        return ConfigError(reason, path=self.path, line=line, column=column)


def parse_document(text: str, path: str, kind: str) -> Document:
    """Return the document in C{text}; C{kind} is C{yaml}, C{json} or C{toml}.

    @raise ConfigError: with the line, and the line's text where that helps.
    """
    if len(text.encode()) > SIZE_LIMIT_BYTES:
        raise ConfigError("is larger than 1 MiB", path=path)
    if kind == "toml":
        return _parse_toml(text, path)
    if kind == "json":
        return _parse_json(text, path)
    return _parse_yaml(text, path)


# --- YAML -------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """The safe loader with the core schema of YAML 1.2.

    So C{yes}, C{12:30}, C{0777} and C{2026-01-01} are what they look like, and what
    other tools that read the same file take them for.
    """

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put the pairs that C{<<} names into C{node}.

        A key of its own wins, of several mappings the one named first, by
        https://yaml.org/type/merge.html. PyYAML 6.0.4 has neither where a merged
        mapping merges another one, so this is done here.
        """
        own: list[_Pair] = []
        merged: list[_Pair] = []
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged += self._pairs(value)
            else:
                own.append((key, value))
        if not merged:
            return
        found: dict[tuple[str, str], _Pair] = {}
        for key, value in own + merged:
            found.setdefault((key.tag, str(key.value)), (key, value))
        node.value = list(found.values())

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return the value of C{node}; PyYAML takes a tag of the file at its word."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError):
            raise yaml.constructor.ConstructorError(
                None, None, f"is no {node.tag.rpartition(':')[2]}", node.start_mark
            ) from None

    def _pairs(self, value: yaml.Node) -> list[_Pair]:
        several = isinstance(value, yaml.SequenceNode)
        pairs: list[_Pair] = []
        for one in value.value if several else [value]:
            if not isinstance(one, yaml.MappingNode):
                raise yaml.constructor.ConstructorError(
                    None, None, "<< takes a mapping or a list of them", value.start_mark
                )
            self.flatten_mapping(one)
            pairs += one.value
        return pairs


_Pair = tuple[yaml.Node, yaml.Node]


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"(true|True|TRUE|false|False|FALSE)\Z"),
    "tTfF",
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)\Z"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z"),
    "-+0123456789",
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"
        r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z"
    ),
    "-+0123456789.",
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<\Z"), "<")


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = loader.construct_scalar(node)
    try:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    except ValueError:
        raise yaml.constructor.ConstructorError(
            None, None, "is not a number, or one of too many digits", node.start_mark
        ) from None


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def _parse_yaml(text: str, path: str) -> Document:
    try:
        root = yaml.compose(text, Loader=_Loader)
        if root is None:
            return Document(None, path)
        lines: dict[tuple[str | int, ...], Place] = {}
        _walk(root, (), lines, [0])
        return Document(_Loader("").construct_document(root), path, lines)
    except yaml.YAMLError as problem:
        raise yaml_mistake(problem, text, path) from None
    except RecursionError:
        raise ConfigError(_TOO_DEEP, path=path) from None


def _walk(
    node: yaml.Node,
    where: tuple[str | int, ...],
    lines: dict[tuple[str | int, ...], Place],
    count: list[int],
) -> None:
    """Note the line of every key; aliases count each time they are used."""
    count[0] += 1
    if count[0] > NODES_LIMIT:
        raise yaml.YAMLError(f"has more than {NODES_LIMIT} values, aliases included")
    lines.setdefault(where, _marked(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[tuple[str, str]] = set()
        for key, value in node.value:
            name = (key.tag, str(key.value))
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key.value!r} appears twice", key.start_mark
                )
            seen.add(name)
            here = (*where, str(key.value))
            lines[here] = _marked(key)
            _walk(value, here, lines, count)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*where, index), lines, count)


def _marked(node: yaml.Node) -> Place:
    return node.start_mark.line + 1, node.start_mark.column + 1


# --- JSON and TOML ----------------------------------------------------------


def _parse_json(text: str, path: str) -> Document:
    if not text.strip():
        return Document(None, path)
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as problem:
        raise ConfigError(
            f"{problem.msg}\n{context(text, problem.lineno - 1)}",
            path=path,
            line=problem.lineno,
            column=problem.colno,
        ) from None
    except _Twice as problem:
        line, column = _json_lines(text).get((problem.key,), (0, 0))
        raise ConfigError(str(problem), path=path, line=line, column=column) from None
    except RecursionError:
        raise ConfigError(_TOO_DEEP, path=path) from None
    except ValueError:
        raise ConfigError(_TOO_LONG, path=path) from None
    return Document(value, path, _json_lines(text))


class _Twice(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(f"key {key!r} stands twice in one object")
        self.key = key


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Twice(key)
        found[key] = value
    return found


def _json_lines(text: str) -> dict[tuple[str | int, ...], Place]:
    """Return the lines of keys: JSON is close enough to YAML that its composer works.

    What was found before the first thing that is no YAML, when there is one.
    """
    lines: dict[tuple[str | int, ...], Place] = {}
    try:
        root = yaml.compose(text.replace("\t", " "), Loader=_Loader)
        if root is not None:
            _walk(root, (), lines, [0])
    except (yaml.YAMLError, RecursionError):
        pass
    return lines


def _parse_toml(text: str, path: str) -> Document:
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        match = re.search(r"line (\d+), column (\d+)", str(problem))
        line, column = (int(match[1]), int(match[2])) if match else (0, 0)
        raise ConfigError(str(problem), path=path, line=line, column=column) from None
    except RecursionError:
        raise ConfigError(_TOO_DEEP, path=path) from None
    except ValueError:
        raise ConfigError(_TOO_LONG, path=path) from None
    return Document(value, path, _toml_lines(text))


def _toml_lines(text: str) -> dict[tuple[str | int, ...], Place]:
    """Return the lines of keys and tables, read by their first characters alone."""
    lines: dict[tuple[str | int, ...], Place] = {}
    table: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    for number, row in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\[([^\]]+)\]\]", row):
            name = _toml_key(match[1])
            counts[name] = counts.get(name, -1) + 1
            table = (*name, counts[name])
            lines[table] = number, row.index("[") + 1
        elif match := re.match(r"\s*\[([^\]]+)\]", row):
            table = _toml_key(match[1])
            lines[table] = number, row.index("[") + 1
        elif match := re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", row):
            place = number, match.start(1) + 1
            lines.setdefault((*table, *_toml_key(match[1])), place)
    return lines


def _toml_key(text: str) -> tuple[str | int, ...]:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
