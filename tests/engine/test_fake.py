"""The fake keeps the same promises as the real engine."""

from __future__ import annotations

import pytest

from haloy.engine.interface import Engine
from tests.contracts.engine import EngineContract
from tests.fakes.engine import FakeEngine


class TestFakeEngine(EngineContract):
    """Held to the contract, so that tests on it mean something."""

    @pytest.fixture
    def engine(self) -> Engine:
        fake = FakeEngine()
        fake.have_image("sleeper:latest")
        return fake

    @pytest.fixture
    def image(self) -> str:
        return "sleeper:latest"
