"""What C{garbage} no longer looks through, and what it still finds."""

from __future__ import annotations

import gc
import weakref

from haloy.garbage import keep_what_is_here


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
