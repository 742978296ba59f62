"""Which form runs."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from twisted.logger import Logger, capturedLogs, formatEvent

from haloy.proxy.form import form, form_of, tell_of_loss

LIBRARY = SimpleNamespace(
    init_haloy___proxy___head=0, init_haloy___proxy___tls___bulk=0
)
NATIVE = SimpleNamespace(__file__="/x/head.cpython-311-x86_64-linux-gnu.so")
WRITTEN = SimpleNamespace(__file__="/x/bulk.py")


def test_the_form_that_is_tried() -> None:
    """These tests run on both: who runs them says on which."""
    assert form() == os.environ.get("HALOY_TEST_FORM", "interpreted")


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({"haloy.proxy.head": WRITTEN}, "interpreted"),
        ({"haloy_proxy__mypyc": LIBRARY, "haloy.proxy.head": NATIVE}, "compiled"),
        (
            {
                "haloy_proxy__mypyc": LIBRARY,
                "haloy.proxy.head": NATIVE,
                "haloy.proxy.tls.bulk": WRITTEN,
            },
            "partly compiled",
        ),
    ],
)
def test_the_files_tell(modules: dict[str, Any], said: str) -> None:
    """All that was compiled must have come from a library."""
    assert form_of(modules) == said


def test_a_mixture_is_told() -> None:
    """With what to do; a whole installation says nothing."""
    with capturedLogs() as events:
        tell_of_loss(Logger(), form())
        assert not events
        tell_of_loss(Logger(), "partly compiled")
    assert "install Haloy again" in (formatEvent(events[0]) or "")
