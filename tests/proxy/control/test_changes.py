"""Tables and certificates travel as differences."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from haloy.model.certificate import Certificate, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.changes import (
    CERTIFICATES_IN_PART,
    ROUTES_IN_PART,
    CertificatesReader,
    TableReader,
    certificate_parts,
    passing_reader,
    read_table,
    table_parts,
    table_reader,
    together,
    unread_table,
)
from haloy.proxy.control.protocol import Meaning, TablePart, pack, unpack
from haloy.proxy.interface import Leftover, ProxyStats
from haloy.proxy.routes import RouteTable
from tests.proxy.control.test_protocol import CERTIFICATE, table

# --- tables --------------------------------------------------------------------------


def read(reader: TableReader[RouteTable], parts: list[TablePart]) -> RouteTable:
    for part in parts[:-1]:
        assert reader.take(as_sent(part)) is None
    whole = reader.take(as_sent(parts[-1]))
    assert whole is not None
    return whole


def test_a_table_travels_whole_then_as_changes() -> None:
    """A change of one app costs one part with that app's routes."""
    first = table(1, {f"app{n}": n + 1 for n in range(ROUTES_IN_PART)})
    reader = table_reader()
    assert read(reader, table_parts(None, first)) == first
    second = table(2, {f"app{n}": n + 1 + (n == 5) for n in range(ROUTES_IN_PART)})
    parts = table_parts(first, second)
    assert len(parts) == 1
    assert len(parts[0].exact) + len(parts[0].wildcard) == 2
    assert read(reader, parts) == second
    third = table(3, {"app5": 1}, api=True)
    assert read(reader, table_parts(second, third)) == third
    assert read(reader, table_parts(third, evolve(third, generation=4))).exact == (
        third.exact
    )


def test_a_large_table_comes_in_parts() -> None:
    """No part has more routes than the limit; the end goes with the last few."""
    for apps, expected in ((50, [20] * 7 + [10]), (20, [20] * 3 + [0])):
        some = table(1, {f"a{n}": 1 for n in range(apps)})  # three names each
        parts = table_parts(None, some)
        assert [len(p.exact) + len(p.wildcard) for p in parts] == expected
        assert [part.last for part in parts] == [*[False] * (len(parts) - 1), True]


def test_a_change_of_another_table_is_refused() -> None:
    """Somebody who missed a table cannot be given the next change."""
    reader = table_reader()
    read(reader, table_parts(None, table(1, {"a": 1})))
    parts = table_parts(table(5, {"b": 1}), table(6, {"b": 2}))
    with pytest.raises(ValueError, match="table 5, where table 1 is served"):
        reader.take(as_sent(parts[0]))
    assert reader.table.generation == 1


def test_who_joins_within_a_table_is_led_to_it() -> None:
    """Of one that another overtook no part is left, nor of one that was given up."""
    reader, large = passing_reader(), {f"a{number}": number for number in range(50)}
    cut = table_parts(None, table(1, large))[:2]
    parts = table_parts(None, table(2, large))
    for part in (*cut, *parts[:2]):
        reader.take(as_sent(part))
    assert {part.generation for part in reader.brief} == {-1, 2}
    joining = table_reader()
    for part in (*reader.brief, *parts[2:]):
        joining.take(as_sent(part))
    assert joining.table == table(2, large)
    assert reader.within
    reader.give_up()
    assert reader.brief == table_parts(None, reader.table)


def test_a_new_whole_table_overtakes_a_broken_one() -> None:
    """A sender that was cut off in the middle begins anew."""
    reader = table_reader()
    cut = table_parts(None, table(1, {f"a{n}": 1 for n in range(ROUTES_IN_PART)}))
    assert reader.take(as_sent(cut[0])) is None
    after = table(2, {"c": 3})
    assert read(reader, table_parts(None, after)) == after


def spoilt(parts: list[TablePart], number: int) -> list[TablePart]:
    """Return C{parts} with a route that is none in one of them."""
    exact = {**parts[number].exact, "bad.example.com": b'{"is":"AppRoute"}'}
    return [
        evolve(part, exact=exact) if place == number else part
        for place, part in enumerate(parts)
    ]


def as_sent(part: TablePart) -> TablePart:
    """Return C{part} as the other side has it."""
    _, _, message = unpack(pack(Meaning.NEWS, 0, part))
    assert isinstance(message, TablePart)
    return message


@pytest.mark.parametrize("number", [0, 1, -1])
def test_one_bad_route_refuses_the_table(number: int) -> None:
    """Whichever part it is in, the last is refused, and says which route it was."""
    reader = table_reader()
    first = table(1, {"a": 1})
    read(reader, table_parts(None, first))
    second = table(2, {f"a{n}": 1 for n in range(ROUTES_IN_PART)})
    good = [as_sent(part) for part in table_parts(first, second)]
    bad = spoilt(good, number % len(good))
    for part in bad[:-1]:
        with suppress(ValueError):
            reader.take(part)
    with pytest.raises(ValueError, match=r"route of bad\.example\.com: AppRoute lacks"):
        reader.take(bad[-1])
    assert reader.table == first
    assert read(reader, good) == second


def test_who_passes_a_table_on_reads_no_route() -> None:
    """What it tells others is what it was told, whatever that is."""
    reader, other = passing_reader(), table_reader()
    some = table(1, {f"a{n}": 1 for n in range(ROUTES_IN_PART)}, api=True)
    parts = [as_sent(part) for part in table_parts(None, some)]
    taken = [reader.take(part) for part in parts][-1]
    assert taken == unread_table(some)
    assert read_table(taken) == some
    assert read(other, table_parts(None, taken)) == some
    strange = spoilt([as_sent(part) for part in table_parts(some, some)], 0)
    refused = reader.take(strange[0])
    assert refused is not None
    reader.go_back(refused, taken)
    assert reader.table is taken
    reader.go_back(refused, refused)  # heard late, of one that is no longer there
    assert reader.table is taken


@given(st.lists(st.integers(0, 2**32), min_size=1, max_size=6))
def test_any_row_of_tables_arrives(seeds: list[int]) -> None:
    """Whatever changes from one to the next."""
    reader, before = table_reader(), None
    for generation, seed in enumerate(seeds):
        draw = random.Random(seed)
        after = table(
            generation,
            {name: draw.randint(1, 3) for name in "abcdef" if draw.random() < 0.5},
            api=draw.random() < 0.5,
        )
        assert read(reader, table_parts(before, after)) == after
        before = after


# --- certificates --------------------------------------------------------------------


def named(name: str, key: bytes = b"key") -> Certificate:
    return evolve(CERTIFICATE, name=DomainName(name), key=Secret(key))


def bring(
    reader: CertificatesReader,
    before: tuple[Certificate, ...] | None,
    after: tuple[Certificate, ...],
) -> int:
    """Bring C{reader} there; return how many certificates travelled."""
    parts = certificate_parts(before, after)
    assert all(len(part.put) <= CERTIFICATES_IN_PART for part in parts)
    for part in parts[:-1]:
        assert reader.take(part) is None
    assert reader.take(parts[-1]) == after == reader.certificates
    return sum(len(part.put) for part in parts)


def test_certificates_travel_once() -> None:
    """A renewal sends one, a removal none, another order all."""
    reader = CertificatesReader()
    many = tuple(named(f"n{n}.example.com") for n in range(40))
    assert bring(reader, None, many) == 40
    assert bring(reader, many, many) == 0
    renewed = (*many[:7], named("n7.example.com", b"new"), *many[8:])
    assert bring(reader, many, renewed) == 1
    assert bring(reader, renewed, renewed[5:]) == 0
    assert bring(reader, renewed[5:], renewed[:4:-1]) == 35
    assert bring(reader, renewed[:4:-1], ()) == 0


# --- counts --------------------------------------------------------------------------


def test_readings_of_workers_are_added() -> None:
    """What drains in two workers counts twice; the oldest table counts."""
    one = ProxyStats(7, 1, 2, 3, 4, {"k": Leftover(1, 2)}, (AppName("b"),))
    other = ProxyStats(6, 10, 20, 30, 40, {"k": Leftover(1, 1), "m": Leftover(0, 1)})
    assert together([one, other]) == ProxyStats(
        6, 11, 22, 33, 44, {"k": Leftover(2, 3), "m": Leftover(0, 1)}, (AppName("b"),)
    )
    assert together([]) == ProxyStats(0, 0, 0, 0, 0)
