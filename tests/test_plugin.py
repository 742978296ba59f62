"""Subcommands of twistd: loaded when they are used."""

from __future__ import annotations

import pytest

from haloy import proxy_tap
from haloy.plugin import Subcommand


def test_what_it_leads_to() -> None:
    """The options and the service of its module."""
    made = Subcommand("proxy", "haloy.proxy_tap", "", "haloy-proxy")
    assert made.options is proxy_tap.Options
    assert made.makeService is proxy_tap.makeService


def test_a_module_that_is_lost() -> None:
    """It costs nobody anything until it is asked for; then it is told in one line."""
    made = Subcommand("lost", "haloy.lost", "", "lost")
    for part in ("options", "makeService"):
        with pytest.raises(SystemExit, match=r"^lost: .*install Haloy again$"):
            getattr(made, part)
