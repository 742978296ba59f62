"""What C{garbage} no longer looks through, and what it still finds."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from haloy.garbage import keep_what_is_here, look_briefly, not_looked_for

#: Python's own thresholds.
USUAL = (700, 10, 10)


class Knot:
    """Only a look for garbage can free it."""

    def __init__(self) -> None:
        self.itself = self


def test_only_what_is_made_later_is_looked_through() -> None:
    """Garbage from before is freed at once, garbage from after later."""
    before = weakref.ref(Knot())
    keep_what_is_here()
    assert before() is None
    after = weakref.ref(Knot())
    assert len(gc.get_objects()) < gc.get_freeze_count() / 10
    gc.collect()
    assert after() is None


@pytest.mark.parametrize("looked_for", [True, False])
def test_none_is_looked_for_during_an_import(looked_for: bool) -> None:
    """Afterwards it is as before, also if the import failed."""
    if not looked_for:
        gc.disable()
    try:
        with not_looked_for():
            assert not gc.isenabled()
        with pytest.raises(ImportError), not_looked_for():
            raise ImportError
        assert gc.isenabled() is looked_for
    finally:
        gc.enable()


def _looks_while_making(count: int) -> str:
    """Return the generations that are looked at while so many objects come to live."""
    looks: list[str] = []

    def note(phase: str, told: dict[str, Any]) -> None:
        if phase == "start":
            looks.append(str(told["generation"]))

    gc.collect()
    gc.callbacks.append(note)
    try:
        living = [[one] for one in range(count)]
    finally:
        gc.callbacks.remove(note)
    assert len(living) == count
    return "".join(looks)


def test_a_look_is_brief() -> None:
    """At what three of the smallest have left, where Python waits for eleven."""
    former = gc.get_threshold()
    gc.set_threshold(*USUAL)  # a worker that an earlier test began has changed them
    try:
        usual = _looks_while_making(60_000)
        look_briefly()
        brief = _looks_while_making(60_000)
    finally:
        gc.set_threshold(*former)
    assert "0" * 10 in usual
    assert "0" * 4 not in brief
    assert brief.count("2") <= usual.count("2")
