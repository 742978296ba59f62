"""Who may read C{/metrics}."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(folder=tmp_path)
    yield found
    found.database.close()


def test_where_there_are_none(server: Server) -> None:
    """The text says which key decides."""
    answer = server.ask("GET", "/metrics")
    assert answer.status == 404
    assert "metrics.enabled" in answer.text
