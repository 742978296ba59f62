"""Which exit code each problem has."""

from __future__ import annotations

import pytest

from haloy.cli.exits import exit_code, exit_code_of_several
from haloy.errors import (
    ConfigError,
    DeployFailed,
    Forbidden,
    HaloyError,
    InvalidValue,
    NotFound,
    PolicyRefused,
    ServerUnreachable,
    Unauthorized,
)


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (HaloyError("x"), 1),
        (NotFound("x"), 1),
        (ConfigError("x"), 3),
        (InvalidValue("x"), 3),
        (Unauthorized("x"), 4),
        (Forbidden("x"), 4),
        (PolicyRefused("x"), 1),
        (ServerUnreachable("x"), 5),
        (DeployFailed("x"), 6),
    ],
)
def test_codes(problem: HaloyError, code: int) -> None:
    """A script tells what to do by the class of the problem."""
    assert exit_code(problem) == code


def test_several_targets() -> None:
    """All well, some failed, all failed alike, all failed differently."""
    failed, lost = DeployFailed("x"), ServerUnreachable("x")
    assert exit_code_of_several([], 2) == 0
    assert exit_code_of_several([failed], 2) == 7
    assert exit_code_of_several([failed, failed], 2) == 6
    assert exit_code_of_several([failed, lost], 2) == 1
