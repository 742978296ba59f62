from __future__ import annotations

import attrs
import pytest
from attrs.exceptions import FrozenInstanceError

from haloy.config import app_file
from haloy.config.app_file import AppFile, EnvVar, Target, ValueSource


def test_everything_that_can_be_left_out_is_unset() -> None:
    """Merging tells unset from empty: no field of a target has another default."""
    for kind in (Target, AppFile):
        assert {one.default for one in attrs.fields(kind)} == {None}


def test_values_are_frozen() -> None:
    """No target can change another one's (CLI section 9, point 7)."""
    target = Target(env=(EnvVar("A", "1"),))
    with pytest.raises(FrozenInstanceError):
        target.name = "x"  # type: ignore[misc]  # what is tested
    for kind in vars(app_file).values():
        if attrs.has(kind):
            with pytest.raises(FrozenInstanceError):
                kind.__setattr__(kind.__new__(kind), attrs.fields(kind)[0].name, 1)


@pytest.mark.parametrize("value", [EnvVar("A", "hunter2"), ValueSource("hunter2")])
def test_literals_are_hidden(value: object) -> None:
    """A log of a target shows no secret."""
    assert "hunter2" not in repr(value)
    assert "***" in repr(value)
