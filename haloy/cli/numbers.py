"""Numbers on the command line, refused in words that say what is wanted.

Click's own say "is not a valid float range", and let C{nan} through every range.
"""

from __future__ import annotations

import math
from typing import Any

import click


class Seconds(click.FloatRange):
    """A number of seconds from C{lowest} to C{highest}."""

    name = "seconds"

    def __init__(self, lowest: float, highest: float) -> None:
        """Keep the range, both ends included."""
        super().__init__(lowest, highest)
        self.wanted = f"a number of seconds from {lowest:g} to {highest:g}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number. @raise click.BadParameter: it is none, or out of range."""
        try:
            number = float(super().convert(value, param, ctx))
        except click.BadParameter:
            number = math.nan
        if math.isnan(number):
            self.fail(f"{str(value)!r} is not {self.wanted}", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number from C{lowest} to C{highest}, or without an upper end."""

    name = "number"

    def __init__(self, lowest: int, highest: int | None = None) -> None:
        """Keep the range, both ends included."""
        super().__init__(lowest, highest)
        end = "up" if highest is None else f"to {highest}"
        self.wanted = f"a whole number from {lowest} {end}"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the number. @raise click.BadParameter: it is none, or out of range."""
        try:
            return int(super().convert(value, param, ctx))
        except click.BadParameter:
            return self.fail(f"{str(value)!r} is not {self.wanted}", param, ctx)
