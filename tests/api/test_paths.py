"""Paths of routes."""

from __future__ import annotations

import pytest

from haloy.api.paths import route
from haloy.errors import InvalidValue


def test_names_are_quoted() -> None:
    """A name is one segment, whatever is in it."""
    assert route("status", "a/b c?é") == "/v1/status/a%2Fb%20c%3F%C3%A9"


def test_an_empty_name_is_no_other_route() -> None:
    """The list would be asked for in place of one, or a route that is not there."""
    with pytest.raises(InvalidValue, match="certificates: a name is empty"):
        route("certificates", "")
