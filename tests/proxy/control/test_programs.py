"""Which code workers run, as they and their supervisor tell it."""

from __future__ import annotations

from haloy.proxy.control.programs import (
    gathered,
    programs_of,
    with_form,
    with_releases,
)
from haloy.proxy.control.protocol import Counted, Done
from haloy.proxy.interface import Program


def test_both_tell_what_they_know() -> None:
    """A worker its form, the supervisor its release; what is counted stays."""
    answer = with_form({"connections": 3}, "compiled")
    told = with_releases([("1.0", True, answer), ("1.0", True, Done())])
    assert told.workers[0]["connections"] == 3
    assert programs_of(told) == (Program("1.0", "compiled", draining=True),)


def test_each_kind_once() -> None:
    """With its number; those that accept connections first."""
    new, old = Program("2", "compiled"), Program("1", "compiled", draining=True)
    assert gathered([old, new, old, new, new]) == (
        Program("2", "compiled", 3),
        Program("1", "compiled", 2, draining=True),
    )


def test_a_proxy_of_before() -> None:
    """It counts and says no more."""
    assert programs_of(Counted(({"connections": 3},))) == (
        Program("unknown", "unknown"),
    )
