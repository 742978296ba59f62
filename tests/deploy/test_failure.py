"""What people are told of why a deployment failed."""

from __future__ import annotations

import pytest

from haloy.deploy.failure import as_told
from haloy.errors import DeployFailed, EngineUnavailable


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            DeployFailed("it exited", failure="exited", logs="boom"),
            ("it exited", "exited", "boom"),
        ),
        (
            EngineUnavailable("dial tcp 172.18.0.3:80: no answer"),
            ("dial tcp …: no answer", EngineUnavailable.code, ""),
        ),
        (
            ValueError("secret"),
            ("haloyd made a mistake (ValueError); its log says more", "internal", ""),
        ),
    ],
)
def test_told(problem: Exception, told: tuple[str, str, str]) -> None:
    """A code that programs can use, a sentence, and the output of the app."""
    found = as_told(problem)
    assert (found.reason, found.failure, found.logs) == told
