"""What an error may say of the server's inside."""

from __future__ import annotations

import pytest

from haloy.api.answers import without_places


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (
            "loading failed: open /var/lib/docker/tmp/x-1/repositories: no such file",
            "loading failed: open …: no such file",
        ),
        ("dial tcp 10.20.0.3:8080: connect: refused", "dial tcp …: connect: refused"),
        ("lookup x on [fd00::1]:53: no such host", "lookup x on …: no such host"),
        ("cannot connect to unix:///var/run/docker.sock", "cannot connect to …"),
        (
            'Get "https://ghcr.example/v2/": ghcr.example/team/app:1.2.3.4 denied',
            'Get "https://ghcr.example/v2/": ghcr.example/team/app:1.2.3.4 denied',
        ),
        ("not found: manifest unknown", "not found: manifest unknown"),
        ("it took 12:30:10, or 1.2.3", "it took 12:30:10, or 1.2.3"),
    ],
)
def test_places_are_left_out(said: str, shown: str) -> None:
    """Paths and addresses are nobody's business (A20); references and URLs stay."""
    assert without_places(said) == shown
