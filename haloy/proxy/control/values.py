"""Frozen values <-> JSON, by their annotations; nothing is taken that does not fit.

A worker must be small: this does for our few kinds of values what C{cattrs} does for
any. What equals its default is left out; objects carry the name of their class, by
which a union knows which one it is.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from attrs import NOTHING, Factory, fields, has

#: Where an object says what it is.
KIND: Final = "is"

Decode = Callable[[Any], Any]
Encode = Callable[[Any], Any]

_PLAIN: Final = frozenset((str, int, float, bool))
_AS_THEY_ARE: Final = _PLAIN | {type(None)}


class Misfit(ValueError):
    """Something came that is not what is wanted; what it is, is not shown."""


def encode(value: Any) -> Any:
    """Return C{value} as what JSON has; bytes as text of the same code points."""
    kind: Any = type(value)
    return value if kind in _AS_THEY_ARE else _encoder(kind)(value)


@functools.cache
def _encoder(kind: Any) -> Encode:
    """Return the function that makes JSON of a C{kind}."""
    if issubclass(kind, (str, int, float)):
        return _as_is
    if issubclass(kind, Enum):
        return lambda value: value.value
    if issubclass(kind, bytes):
        return lambda value: value.decode("latin-1")
    if issubclass(kind, (tuple, list)):
        return _as_is if _types_if_plain(kind) else _encode_each
    if issubclass(kind, (frozenset, set)):
        return lambda value: sorted(_encode_each(value))
    if issubclass(kind, Mapping):
        return lambda value: {key: encode(one) for key, one in value.items()}
    if issubclass(kind, datetime):
        return lambda value: value.isoformat()
    return _object_encoder(kind)


def _encode_each(value: Any) -> list[Any]:
    return [encode(one) for one in value]


def _object_encoder(kind: Any) -> Encode:
    known = _fields(kind)

    def encode_object(value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {KIND: kind.__name__}
        for name, default in known:
            one = getattr(value, name)
            if default is NOTHING or (one is not default and one != default):
                found[name] = one if type(one) in _AS_THEY_ARE else encode(one)
        return found

    return encode_object


@functools.cache
def _types_if_plain(kind: Any) -> tuple[type, ...]:
    """Return the types of a C{NamedTuple} of what JSON has, C{()} of anything else.

    Thousands of such a second are sent, records of requests: they go in one piece.
    """
    if not hasattr(kind, "_fields"):
        return ()
    hints = get_type_hints(kind)
    types_ = tuple(hints[name] for name in kind._fields)
    return types_ if set(types_) <= _PLAIN else ()


def decode(kind: Any, value: Any) -> Any:
    """Return the C{kind} that C{encode} made C{value} of.

    @raise ValueError: it is none; the text names the place.
    """
    return decoder(kind)(value)


@functools.cache
def _fields(kind: Any) -> tuple[tuple[str, Any], ...]:
    """Return the names of the fields and their defaults, C{NOTHING} without one."""
    if not has(kind):
        raise TypeError(f"{kind.__name__} cannot be sent")
    found = []
    for one in fields(kind):
        default = one.default
        if isinstance(default, Factory):  # type: ignore[arg-type]  # it is a class
            default = default.factory()
        found.append((one.name, default))
    return tuple(found)


@functools.cache
def decoder(kind: Any) -> Decode:
    """Return the function that makes a C{kind} of JSON; see L{decode}."""
    kind = getattr(kind, "__supertype__", kind)
    origin = get_origin(kind)
    if kind is Any:
        return _as_is
    if origin is Union or origin is types.UnionType:
        return _union(get_args(kind))
    if origin is not None:
        return _container(origin, get_args(kind))
    if kind in (str, int, float, bool, type(None)):
        return _plain(kind)
    if kind is bytes:
        return _bytes
    if kind is datetime:
        return _datetime
    if issubclass(kind, Enum):
        return _Enumerated(kind)
    if hasattr(kind, "_fields"):
        return _named(kind)
    return _Object(kind)


def _as_is(value: Any) -> Any:
    return value


def _plain(kind: type) -> Decode:
    def check(value: Any) -> Any:
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise Misfit(f"{_shown(value)} is no {kind.__name__}")

    return check


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str):
        raise Misfit(f"{_shown(value)} is not a text")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        raise Misfit("text where bytes are wanted") from None


def _datetime(value: Any) -> datetime:
    if not isinstance(value, str):
        raise Misfit(f"{_shown(value)} is not a time")
    found = datetime.fromisoformat(value)
    if found.tzinfo is None:
        raise Misfit(f"{_shown(value)} has no zone")
    return found


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Misfit(f"{_shown(value)} is not a list")
    return value


def _container(origin: Any, arguments: tuple[Any, ...]) -> Decode:
    if issubclass(origin, Mapping):
        one = decoder(arguments[1])

        def mapping(value: Any) -> dict[str, Any]:
            if not isinstance(value, dict):
                raise Misfit(f"{_shown(value)} is not an object")
            return {key: one(inner) for key, inner in value.items()}

        return mapping
    if issubclass(origin, frozenset):
        member = decoder(arguments[0])
        return lambda value: frozenset([member(inner) for inner in _list(value)])
    if issubclass(origin, tuple) and arguments[-1] is not Ellipsis:
        return _fixed(tuple(decoder(one) for one in arguments))
    if not issubclass(origin, Sequence):
        raise TypeError(f"{origin} cannot be received")
    each = decoder(arguments[0])
    return lambda value: tuple([each(inner) for inner in _list(value)])


def _fixed(parts: tuple[Decode, ...]) -> Decode:
    def several(value: Any) -> tuple[Any, ...]:
        if len(_list(value)) != len(parts):
            raise Misfit(f"{len(value)} values where {len(parts)} are wanted")
        return tuple([part(one) for part, one in zip(parts, value, strict=True)])

    return several


def _named(kind: Any) -> Decode:
    hints = get_type_hints(kind)
    several = _fixed(tuple(decoder(hints[name]) for name in kind._fields))
    types_ = list(_types_if_plain(kind))

    def named(value: Any) -> Any:
        if types_ and [*map(type, _list(value))] == types_:
            return kind(*value)
        return kind(*several(value))

    return named


def _union(kinds: tuple[Any, ...]) -> Decode:
    objects = {one.__name__: decoder(one) for one in kinds if has(one)}
    others = [decoder(one) for one in kinds if not has(one)]

    def choose(value: Any) -> Any:
        if objects and isinstance(value, dict):
            chosen = objects.get(value.get(KIND, ""))
            if chosen is not None:
                return chosen(value)
        for one in others:
            try:
                return one(value)
            except ValueError:
                continue
        raise Misfit(f"{_shown(value)} fits nothing that is wanted here")

    return choose


class _Enumerated:
    """Makes members of one enumeration."""

    def __init__(self, kind: type[Enum]) -> None:
        self._kind = kind

    def __call__(self, value: Any) -> Any:
        return self._kind(value)


class _Object:
    """Makes objects of one class; its fields are looked at when they are needed."""

    def __init__(self, kind: type) -> None:
        self._kind = kind
        _fields(kind)

    @functools.cached_property
    def _plan(self) -> dict[str, Decode]:
        hints = get_type_hints(self._kind)
        return {name: decoder(hints[name]) for name, _ in _fields(self._kind)}

    @functools.cached_property
    def _needed(self) -> frozenset[str]:
        return frozenset(
            name for name, default in _fields(self._kind) if default is NOTHING
        )

    def __call__(self, value: Any) -> Any:
        name = self._kind.__name__
        if not isinstance(value, dict) or value.get(KIND) != name:
            raise Misfit(f"{_shown(value)} is no {name}")
        plan = self._plan
        found: dict[str, Any] = {}
        for key, inner in value.items():
            if key == KIND:
                continue
            part = plan.get(key)
            if part is None:
                raise Misfit(f"{name} has no {key}")
            try:
                found[key] = part(inner)
            except ValueError as problem:
                raise Misfit(f"{name}.{key}: {problem}") from None
        try:
            return self._kind(**found)
        except TypeError:
            missing = ", ".join(sorted(self._needed - found.keys()))
            if not missing:
                raise
            raise Misfit(f"{name} lacks {missing}") from None


def _shown(value: Any) -> str:
    """Return the kind of C{value}: what it is may be a secret."""
    return type(value).__name__
