"""A server in memory for tests of deploying."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_twisted

from tests.deploy.world import World, world


@pytest_twisted.async_yield_fixture
async def server(tmp_path: Path, reactor: Any) -> AsyncIterator[World]:
    """Give a started server without apps."""
    async with world(tmp_path, reactor) as made:
        await made.service.start()
        yield made
