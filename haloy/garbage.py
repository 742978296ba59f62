"""What a started process keeps until it ends is not looked through for garbage.

A look through everything takes some 50 ms in haloyd, and nobody is answered meanwhile.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def not_looked_for() -> Iterator[None]:
    """Look for no garbage while the block imports: there is none, modules stay.

    In haloyd that is a sixth of the time to import them.
    """
    looked_for = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked_for:
            gc.enable()


def keep_what_is_here() -> None:
    """Collect garbage once, and look from now on only at what is made later."""
    gc.collect()
    gc.freeze()


def look_briefly() -> None:
    """Look at a quarter as much at a time, and as much more often, from now on.

    For who answers requests: a table of a thousand routes is ten thousand objects, all
    of which live, and a look at the 7,700 that Python takes together is 0.7 ms. A look
    at everything that is not left out comes as seldom as before.
    """
    gc.set_threshold(700, 2, 40)
