"""Where the commands look: option, else environment, else default."""

from __future__ import annotations

from pathlib import Path

import pytest

from haloy.daemon.command.options import directories


def test_the_option_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option overrides its variable, each directory for itself."""
    monkeypatch.setenv("HALOY_CONFIG_DIR", "/env/config")
    monkeypatch.setenv("HALOY_DATA_DIR", "/env/data")
    chosen = directories("/option/config", None)
    assert chosen.config == Path("/option/config")
    assert chosen.data == Path("/env/data")


def test_the_default_is_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without either: C{/etc/haloy} and C{/var/lib/haloy}."""
    monkeypatch.delenv("HALOY_CONFIG_DIR", raising=False)
    monkeypatch.delenv("HALOY_DATA_DIR", raising=False)
    chosen = directories(None, None)
    assert (str(chosen.config), str(chosen.data)) == ("/etc/haloy", "/var/lib/haloy")
