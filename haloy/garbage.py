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
