"""Numbers on the command line."""

from __future__ import annotations

import click
import pytest

from haloy.cli.numbers import Seconds, Whole


def test_numbers_that_are_taken() -> None:
    """Both ends of the range belong to it."""
    for text, seconds in (("1", 1.0), ("3600", 3600.0), ("1e2", 100.0), (" 2.5", 2.5)):
        assert Seconds(1, 3600).convert(text, None, None) == seconds
    for text, number in (("0", 0), ("7", 7)):
        assert Whole(0, 7).convert(text, None, None) == number
    assert Whole(0).convert("123456789", None, None) == 123456789


@pytest.mark.parametrize("text", ["abc", "", "0.9", "3601", "nan", "inf", "-inf", "1s"])
def test_no_such_seconds(text: str) -> None:
    """Click lets a nan through every range; waiting for so long is a traceback."""
    with pytest.raises(click.BadParameter) as caught:
        Seconds(1, 3600).convert(text, None, None)
    wanted = f"{text!r} is not a number of seconds from 1 to 3600"
    assert caught.value.message == wanted


@pytest.mark.parametrize("text", ["abc", "", "-1", "8", "1.5", "nan"])
def test_no_such_number(text: str) -> None:
    """What is wanted is said, in words and not in names of types."""
    with pytest.raises(click.BadParameter) as caught:
        Whole(0, 7).convert(text, None, None)
    assert caught.value.message == f"{text!r} is not a whole number from 0 to 7"
    with pytest.raises(click.BadParameter, match="from 0 up"):
        Whole(0).convert("-1", None, None)
