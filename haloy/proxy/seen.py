"""What comes again, told from what comes once, by hashes alone.

Remembering a block of fields that never comes back costs more than reading it: it
takes the place of one that does, and its memory is cold by the time it is used anew.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

SEEN_LIMIT: Final = 1024


class Seen:
    """The hashes of what came lately; two things with one hash are one here."""

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes: set[int] = set()

    def before(self, what: Hashable) -> bool:
        """Tell whether C{what} was asked for lately; it is from now on."""
        hashes = self._hashes
        number = hash(what)
        if number in hashes:
            return True
        if len(hashes) >= SEEN_LIMIT:
            hashes.clear()
        hashes.add(number)
        return False
