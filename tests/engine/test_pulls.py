"""What a pull takes on the disk yet."""

from __future__ import annotations

import pytest

from haloy.engine.pulls import Arriving, PullProgress


@pytest.mark.parametrize(
    ("layers", "needed"),
    [
        ([], 0),
        ([(0, 100)], 100),
        ([(99, 100)], 100),  # it is unpacked beside itself
        ([(100, 100), (90, 100)], 110),
        ([(0, 10), (95, 100)], 110),
        ([(50, 0)], 0),  # its size is not known
    ],
)
def test_what_a_pull_takes_yet(layers: list[tuple[int, int]], needed: int) -> None:
    """What is missing, and the largest once more; never more than their sizes."""
    arriving = {str(n): Arriving(*layer) for n, layer in enumerate(layers)}
    assert PullProgress("", 0, 0, 0, 0, arriving).bytes_needed == needed
