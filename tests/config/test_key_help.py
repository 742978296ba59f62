from __future__ import annotations

import attrs
import pytest

from haloy.config import app_file
from haloy.config.app_file import AppFile, Target
from haloy.config.key_help import HELP, help_of


def _classes() -> list[type]:
    return [one for one in vars(app_file).values() if attrs.has(one)]


def test_every_key_has_help_and_no_help_is_left_over() -> None:
    """The table and the classes are the same keys."""
    for kind in _classes():
        fields = {one.name for one in attrs.fields(kind)}
        if kind is AppFile:
            fields -= {one.name for one in attrs.fields(Target)}
        assert HELP[kind.__name__].keys() == fields
    assert HELP.keys() == {kind.__name__ for kind in _classes()}


def test_help_is_a_sentence() -> None:
    """It ends with a full stop, so that a default can follow it."""
    for told in (one for keys in HELP.values() for one in keys.values()):
        assert told.text.endswith(".")


def test_a_whole_file_has_the_keys_of_a_target() -> None:
    """What a class inherits is found."""
    assert help_of(AppFile, "replicas") is HELP["Target"]["replicas"]
    with pytest.raises(KeyError, match=r"AppFile\.nope"):
        help_of(AppFile, "nope")
