"""C{haloyd version}."""

from __future__ import annotations

import json
from importlib.metadata import version

from click.testing import CliRunner

from haloy.daemon.command.main import main
from haloy.proxy.form import form


def test_it_is_the_version_that_is_installed() -> None:
    """One line, nothing beside it."""
    told = CliRunner().invoke(main, ["version"])
    assert told.output == f"{version('haloy')} ({form()} proxy)\n"


def test_as_json() -> None:
    """The version is under C{version}."""
    told = CliRunner().invoke(main, ["version", "--json"])
    assert json.loads(told.output)["version"] == version("haloy")
    assert json.loads(told.output)["proxy_form"] == form()
