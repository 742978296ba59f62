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
        """Use C{encode} to make JSON of a value."""
        self._encode = encode
        self._made: dict[str, tuple[T, str]] = {}

    def object_of(self, values: Mapping[K, T]) -> str:
        """Return C{values} as a JSON object."""
        made: dict[str, tuple[T, str]] = {}
        for name, value in values.items():
            known = self._made.get(name)
            if known is None or known[0] is not value:
                known = value, f"{json.dumps(name)}:{self._encode(value)}"
            made[name] = known
        self._made = made
        return f"{{{','.join([text for _, text in made.values()])}}}"
