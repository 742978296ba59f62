"""JSON of many values of which few change: the text of the others is not made again.

For files that are written whole whenever something in them is another: with a thousand
apps, turning all to JSON takes longer than all else that a change costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=str)
T = TypeVar("T")


class Fragments(Generic[T]):
    """The values of one mapping after the other; what is the same object is the same.

    So the values must be frozen. Those of the newest mapping are kept, with their text.
    """

    def __init__(self, encode: Callable[[T], str]) -> None:
        """Use C{encode} to make JSON, in ASCII, of a value."""
        self._encode = encode
        self._made: dict[str, tuple[T, bytes]] = {}

    def object_of(self, values: Mapping[K, T]) -> list[bytes]:
        """Return C{values} as a JSON object, in pieces."""
        known = self._made
        made: dict[str, tuple[T, bytes]] = {
            name: one
            if (one := known.get(name)) is not None and one[0] is value
            else (value, self._piece(name, value))
            for name, value in values.items()
        }
        self._made = made
        pieces = [piece for _, piece in made.values()]
        if pieces:
            pieces[-1] = pieces[-1][:-1]
        return [b"{", *pieces, b"}"]

    def _piece(self, name: str, value: T) -> bytes:
        """Return the member of the object, with the comma behind it."""
        return f"{json.dumps(name)}:{self._encode(value)},".encode("ascii")
