"""Text is made once for each value, and an object of it whenever one is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from haloy.config.fragments import Fragments


def text(fragments: Fragments[Any], values: Mapping[str, Any]) -> bytes:
    return b"".join(fragments.object_of(values))


def test_only_what_is_new_is_encoded() -> None:
    """A value that is the same object as before costs nothing; its place counts."""
    encoded = []

    def encode(value: tuple[int, ...]) -> str:
        encoded.append(value)
        return json.dumps(value)

    one, two, three = (1, 0), (2, 0), (3, 0)
    fragments = Fragments(encode)
    assert text(fragments, {}) == b"{}"
    assert text(fragments, {'a"': one, "b": two}) == b'{"a\\"":[1, 0],"b":[2, 0]}'
    assert text(fragments, {"b": two, 'a"': three}) == b'{"b":[2, 0],"a\\"":[3, 0]}'
    assert encoded == [one, two, three]


def test_what_is_gone_is_forgotten() -> None:
    """A value that comes back is encoded anew: nothing grows with what has been."""
    encoded = []

    def encode(value: str) -> str:
        encoded.append(value)
        return json.dumps(value)

    fragments = Fragments(encode)
    for values in ({"a": "x"}, {}, {"a": "x"}, {"a": "x"}):
        assert json.loads(text(fragments, values)) == values
    assert encoded == ["x", "x"]
