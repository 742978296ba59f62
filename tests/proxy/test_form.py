"""Which form runs."""

from __future__ import annotations

import os

import pytest

from haloy.proxy import exchange
from haloy.proxy.form import form


def test_the_form_that_is_tried() -> None:
    """These tests run on both: who runs them says on which."""
    assert form() == os.environ.get("HALOY_TEST_FORM", "interpreted")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("/x/exchange.py", "interpreted"),
        ("/x/exchange.cpython-311-x86_64-linux-gnu.so", "compiled"),
    ],
)
def test_the_file_tells(
    source: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that comes from a library is a compiled one."""
    monkeypatch.setattr(exchange, "__file__", source)
    assert form() == said
