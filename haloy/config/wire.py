"""Mappings as parsed from YAML, TOML or JSON <-> the values of C{app_file}.

The one place that knows field names in both casings: snake_case in YAML and TOML,
camelCase in JSON and on the wire; the field C{source} is the key C{from}. Nothing
is coerced (C{spec/config.md} 1.3): a number where a text belongs is an error, with
the path of the key. Unknown keys are refused with a suggestion.
"""

from __future__ import annotations

import difflib
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from haloy.config.app_file import AppFile, DomainEntry, ImageConfig, Target
from haloy.errors import InvalidValue

T = TypeVar("T")

# What makes a value of what was parsed, and the type that is wanted.
_Hook = Callable[[object, Any], Any]


class _WrongType(ValueError):
    """A value of another type than the key takes."""


@attrs.define(eq=False)
class Misplaced(InvalidValue):
    """An InvalidValue that knows where: keys and indexes from the root.

    C{others} are what else is wrong in the same object, in its order.
    """

    path: tuple[str | int, ...] = ()
    others: tuple[Misplaced, ...] = ()


def wire_name(field: str, camel: bool) -> str:
    """Return the key of C{field}."""
    if field == "source":
        return "from"
    if not camel:
        return field
    head, *rest = field.split("_")
    return head + "".join(part.capitalize() for part in rest)


def target_from_json(obj: object, path: str = "targetConfig") -> Target:
    """Return a target as the API carries it. @raise InvalidValue: names the field."""
    return structure(obj, Target, camel=True, path=path)


def target_to_json(target: Target) -> dict[str, Any]:
    """Return the JSON object of C{target}: camelCase, unset keys left out."""
    return unstructure(target, camel=True)


def app_file_from(obj: object, *, camel: bool) -> AppFile:
    """Return a whole file. Root keys that begin with C{x-} are the author's own.

    So is C{$schema} in JSON, by which editors find the schema.

    @raise InvalidValue: names the key by its path.
    """
    if isinstance(obj, Mapping):
        obj = {
            key: value
            for key, value in obj.items()
            if not str(key).startswith("x-") and not (camel and key == "$schema")
        }
    return structure(obj if obj is not None else {}, AppFile, camel=camel, path="")


def structure(obj: object, kind: type[T], *, camel: bool, path: str) -> T:
    """Return C{obj} as a C{kind}.

    @param path: what the field of an error begins with; C{""} for a file's root.
    @raise Misplaced: the first thing that is wrong, with all the others.
    """
    try:
        return _CONVERTERS[camel].structure(obj, kind)
    except (BaseValidationError, ForbiddenExtraKeysError, _WrongType) as problem:
        first, *others = (
            Misplaced(reason, field=_join(path, where), path=where)
            for where, reason in _problems(problem, camel)
        )
        first.others = tuple(others)
        raise first from None


def unstructure(value: Any, *, camel: bool) -> dict[str, Any]:
    """Return the mapping of an attrs value without what is not set."""
    result: dict[str, Any] = {}
    for attribute in attrs.fields(type(value)):
        one = getattr(value, attribute.name)
        if one is not None:
            result[wire_name(attribute.name, camel)] = _plain(one, camel)
    return result


def _plain(value: Any, camel: bool) -> Any:
    if attrs.has(type(value)):
        return unstructure(value, camel=camel)
    if isinstance(value, tuple):
        return [_plain(one, camel) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one, camel) for key, one in value.items()}
    return value


# --- structuring ------------------------------------------------------------


def _text(value: object, _: Any) -> str:
    if not isinstance(value, str):
        hint = "; put it in quotes" if isinstance(value, int | float) else ""
        raise _WrongType(f"must be text, not {_named(value)}{hint}")
    return value


def _integer(value: object, _: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _WrongType(f"must be a whole number, not {_named(value)}")
    return value


def _real(value: object, _: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _WrongType(f"must be a number, not {_named(value)}")
    return float(value)


def _boolean(value: object, _: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongType(f"must be true or false, not {_named(value)}")
    return value


def _named(value: object) -> str:
    """Return what C{value} is; never the value, which may be a secret."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def _port(value: object) -> object:
    """Return a port as text: C{8080}, C{"8080"} and C{8080.0} are the same.

    Anything else is left for the text hook, which says where and why.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value


def _converter(camel: bool) -> Converter:
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    converter.register_structure_hook(str, _text)
    converter.register_structure_hook(int, _integer)
    converter.register_structure_hook(float, _real)
    converter.register_structure_hook(bool, _boolean)
    for applies, hook_for in (
        (attrs.has, partial(_class_hook, converter, camel)),
        (_is_tuple, partial(_tuple_hook, converter)),
        (_is_mapping, partial(_mapping_hook, converter)),
        (_is_optional, partial(_optional_hook, converter)),
    ):
        converter.register_structure_hook_factory(applies, hook_for)
    return converter


def _class_hook(converter: Converter, camel: bool, kind: type) -> _Hook:
    names = {
        one.name: override(rename=wire_name(one.name, camel))
        for one in attrs.fields(kind)
    }
    plain: Any = make_dict_structure_fn(
        kind,
        converter,
        _cattrs_forbid_extra_keys=True,
        **names,  # type: ignore[arg-type]  # overrides by field name
    )

    def hook(value: object, _: Any) -> Any:
        if issubclass(kind, Target):
            value = {} if value is None else value  # a target with no keys
        if kind is ImageConfig and isinstance(value, str):
            value = {"repository": value}
        if not isinstance(value, Mapping):
            hint = "; write {domain: …}" if kind is DomainEntry else ""
            raise _WrongType(f"must be a mapping, not {_named(value)}{hint}")
        if issubclass(kind, Target) and value.get("port") is not None:
            value = {**value, "port": _port(value["port"])}
        return plain(value, kind)

    return hook


def _tuple_hook(converter: Converter, kind: Any) -> _Hook:
    member = get_args(kind)[0]

    def hook(value: object, _: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise _WrongType(f"must be a list, not {_named(value)}")
        done = _each(converter, kind, enumerate(value), member)
        return tuple(one for _, one in done)

    return hook


def _mapping_hook(converter: Converter, kind: Any) -> _Hook:
    _, member = get_args(kind)

    def hook(value: object, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _WrongType(f"must be a mapping, not {_named(value)}")
        if not all(isinstance(key, str) for key in value):
            raise _WrongType("must have text for keys; put them in quotes")
        return dict(_each(converter, kind, value.items(), member))

    return hook


def _optional_hook(converter: Converter, kind: Any) -> _Hook:
    (member,) = [one for one in get_args(kind) if one is not type(None)]

    def hook(value: object, _: Any) -> Any:
        return None if value is None else converter.structure(value, member)

    return hook


def _is_tuple(kind: Any) -> bool:
    return get_origin(kind) is tuple


def _is_optional(kind: Any) -> bool:
    members = get_args(kind)
    union = isinstance(kind, types.UnionType) or str(kind).startswith("typing.")
    return union and len(members) == 2 and type(None) in members


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _each(
    converter: Converter, kind: Any, members: Iterable[tuple[Any, Any]], member: Any
) -> list[tuple[Any, Any]]:
    """Return the members structured by key or index; their errors come together."""
    done: list[tuple[Any, Any]] = []
    wrong: list[Exception] = []
    for key, one in members:
        try:
            done.append((key, converter.structure(one, member)))
        except Exception as problem:
            problem.__notes__ = [
                *getattr(problem, "__notes__", []),
                IterableValidationNote(f"at {key}", key, member),
            ]
            wrong.append(problem)
    if wrong:
        raise IterableValidationError("", wrong, kind)
    return done


_CONVERTERS = {camel: _converter(camel) for camel in (False, True)}


# --- errors -----------------------------------------------------------------


def _problems(
    problem: BaseException, camel: bool
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield where something is wrong, and what."""
    here = tuple(_steps(problem, camel))
    if isinstance(problem, BaseValidationError):
        for one in problem.exceptions:
            for where, reason in _problems(one, camel):
                yield here + where, reason
    elif isinstance(problem, ForbiddenExtraKeysError):
        known = [wire_name(one.name, camel) for one in attrs.fields(problem.cl)]
        for key in sorted(problem.extra_fields, key=str):
            yield (*here, str(key)), _suggest(str(key), known)
    elif isinstance(problem, KeyError):
        yield here, "is missing"
    else:
        yield here, str(problem)


def _suggest(key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1, 0.6)
    if near:
        return f"unknown key; did you mean {near[0]!r}?"
    return f"unknown key; known here: {', '.join(sorted(known))}"


def _steps(problem: BaseException, camel: bool) -> Iterator[str | int]:
    """Return the path that cattrs noted on the way out, outermost first."""
    for note in reversed(getattr(problem, "__notes__", [])):
        if isinstance(note, AttributeValidationNote):
            yield wire_name(note.name, camel)
        elif isinstance(note, IterableValidationNote):
            yield note.index


def _join(path: str, where: tuple[str | int, ...]) -> str:
    text = path
    for step in where:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text
