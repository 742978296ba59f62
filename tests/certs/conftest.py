"""Pebble for the tests that want a real CA: one for all of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.certs.support import made
from tests.support.pebble import Pebble, running_pebble
from tests.support.tools import NEWER_PEBBLE, need


@pytest.fixture(autouse=True)
def services_end(clean_reactor: None, reactor: Any) -> Iterator[None]:
    """Stop what a failed test leaves: its thread would keep pytest from ending."""
    yield
    while made:
        service = made.pop()
        if service.running:
            stopping = Deferred.fromCoroutine(service.stop())
            pytest_twisted.blockon(stopping.addTimeout(10, reactor))


@pytest.fixture(scope="session")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    """Run a CA with 20 % of nonces rejected, strict, no authorization used again."""
    need_pebble()
    with running_pebble(folder(tmp_path_factory)) as running:
        yield running


@pytest.fixture(scope="session")
def newer_pebble() -> Path:
    """Return a pebble that knows renewal windows and profiles; Debian's does not."""
    need_pebble()
    return Path(need(NEWER_PEBBLE))


def need_pebble() -> None:
    if shutil.which("pebble") is None or shutil.which("pebble-challtestsrv") is None:
        pytest.skip("pebble is not installed")


def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pebble")
