"""Values survive the wire; what does not fit is refused, and not shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any, NamedTuple, NewType, Optional

import pytest
from attrs import field, frozen

from haloy.model.app import Address, Balance, ProxyOptions, UnixAddress
from haloy.proxy.control.values import Misfit, decode, decoder, encode

Name = NewType("Name", str)


class Colour(Enum):
    RED = "red"


class Pair(NamedTuple):
    name: str
    number: int


class Labelled(NamedTuple):
    name: str
    share: float
    raw: bytes


class Word(str):
    __slots__ = ()


def _break(number: int) -> int:
    raise TypeError("broken")


@frozen
class Broken:
    number: int = field(converter=_break)


@frozen
class Inner:
    text: str
    number: int = 3


@frozen
class Outer:
    name: Name
    inner: Inner
    where: Address | UnixAddress
    some: tuple[Inner, ...] = ()
    fixed: tuple[str, int] = ("a", 1)
    maybe: int | None = None
    perhaps: Optional[str] = None  # noqa: UP045 - the other way to write it
    raw: bytes = b""
    when: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    by_name: Mapping[str, Inner] = field(factory=dict)
    names: frozenset[str] = frozenset()
    colour: Colour = Colour.RED
    share: float = 0.5
    on: bool = False
    pair: Pair = Pair("p", 1)  # noqa: RUF009 - it is frozen
    texts: Sequence[str] = ()
    anything: Any = None


WHOLE = Outer(
    Name("n"),
    Inner("i", 4),
    UnixAddress("/run/x"),
    some=(Inner("a"), Inner("b", 5)),
    fixed=("z", 2),
    maybe=7,
    perhaps="yes",
    raw=bytes(range(256)),
    when=datetime(2026, 5, 6, 7, 8, 9, 10, tzinfo=UTC),
    by_name={"k": Inner("v")},
    names=frozenset({"b", "a"}),
    share=2.0,
    on=True,
    pair=Pair("q", 2),
    texts=("one",),
    anything={"free": [1]},
)


@pytest.mark.parametrize(
    "value", [WHOLE, Outer(Name("n"), Inner("i"), Address("::1", 80))]
)
def test_a_value_survives(value: Outer) -> None:
    """What comes out equals what went in, through JSON text."""
    assert decode(Outer, json.loads(json.dumps(encode(value)))) == value


def test_defaults_are_left_out() -> None:
    """A plain value is short."""
    assert encode(Inner("x")) == {"is": "Inner", "text": "x"}
    assert encode([Colour.RED, {"b"}]) == ["red", ["b"]]


def test_a_text_of_its_own_class_is_a_text() -> None:
    """So is a number: what JSON makes of them is the same."""
    assert encode([Word("w"), {"n": Word("v")}]) == ["w", {"n": "v"}]


def test_a_mistake_of_the_class_is_no_missing_field() -> None:
    """It is not passed off as one of who sent the value."""
    with pytest.raises(TypeError, match="broken"):
        decode(Broken, {"is": "Broken", "number": 1})


def test_options_of_apps_survive() -> None:
    """Every kind of field that an app's options have."""
    options = ProxyOptions(
        max_body_bytes=5,
        hsts_max_age_s=None,
        response_headers=(("A", "b"),),
        balance=Balance.LEAST_OUTSTANDING,
        connect_timeout_s=1.0,
    )
    assert decode(ProxyOptions, encode(options)) == options


def test_a_whole_number_is_a_time() -> None:
    """JSON does not tell 2.0 from 2."""
    assert decode(float, 2) == 2.0
    assert decode(type(None), None) is None


BASE = {"is": "Outer", "name": "n", "inner": {"is": "Inner", "text": "t"}}
WHERE = {"is": "Address", "host": "h", "port": 1}


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (str, 1, "int is no str"),
        (int, True, "bool is no int"),
        (bytes, 1, "int is not a text"),
        (bytes, "\u20ac", "bytes are wanted"),
        (datetime, 1, "int is not a time"),
        (datetime, "yesterday", "yesterday"),
        (tuple[int, ...], {}, "dict is not a list"),
        (tuple[int, str], [1], "1 values where 2"),
        (Mapping[str, int], [], "list is not an object"),
        (frozenset[int], 1, "int is not a list"),
        (Colour, "blue", "blue"),
        (Pair, ["a"], "1 values where 2"),
        (Inner, [], "list is no Inner"),
        (Inner, {"is": "Outer"}, "dict is no Inner"),
        (Inner, {"is": "Inner"}, "Inner lacks text"),
        (Inner, {"is": "Inner", "text": "t", "more": 1}, "Inner has no more"),
        (Inner, {"is": "Inner", "text": 1}, "Inner.text: int is no str"),
        (int | None, "x", "str fits nothing"),
        (Address | UnixAddress, {"is": "Inner"}, "dict fits nothing"),
        (Address | UnixAddress, 3, "int fits nothing"),
        (Outer, {**BASE, "where": {"is": "Address"}}, "Outer.where: Address lacks"),
    ],
)
def test_what_does_not_fit_is_refused(kind: Any, value: Any, reason: str) -> None:
    """The text says where; a value of ours is never in it."""
    with pytest.raises(ValueError, match=reason):
        decode(kind, value)


def test_a_missing_field_is_named() -> None:
    """Only fields without a default have to be there."""
    assert decode(Outer, {**BASE, "where": WHERE}).maybe is None
    with pytest.raises(Misfit, match="Outer lacks where"):
        decode(Outer, BASE)


def test_kinds_that_cannot_travel() -> None:
    """A mistake of ours shows itself at once."""

    class Plain:
        pass

    with pytest.raises(TypeError, match="Plain"):
        encode(Plain())
    with pytest.raises(TypeError, match="Plain"):
        decoder(Plain)
    with pytest.raises(TypeError, match="cannot be received"):
        decoder(set[int])


def test_tuples_with_names() -> None:
    """One of plain values is sent as it is, any other value by value."""
    plain, other = Pair("a", 1), Labelled("b", 1.0, b"\xff")
    assert encode(plain) is plain
    assert encode(other) == ["b", 1.0, "\xff"]
    assert decode(Labelled, ["b", 1, "\xff"]) == other
    for wrong in (["a", True], ["a", 1.0], ["a", None], "ab"):
        with pytest.raises(Misfit):
            decode(Pair, wrong)
