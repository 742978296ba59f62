"""A database of its own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest_twisted

from haloy.store.database import Database

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest_twisted.async_yield_fixture
async def store(tmp_path: Path, reactor: Any) -> AsyncIterator[Database]:
    """Give an empty, open database."""
    opened = Database(tmp_path / "db" / "haloy.db", reactor, lambda: NOW)
    await opened.open()
    yield opened
    await opened.close()
