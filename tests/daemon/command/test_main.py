"""The C{haloyd} command as a whole."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from haloy.daemon.command.main import main
from tests.daemon.command.conftest import Haloyd


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_names_every_command(flag: str) -> None:
    """Both spellings work."""
    told = CliRunner().invoke(main, [flag])
    assert told.exit_code == 0
    for command in ("init", "serve", "verify", "version"):
        assert command in told.output


def test_a_known_problem_is_one_line_and_no_traceback(haloyd: Haloyd) -> None:
    """Docker is away: exit code 1, one line that says so."""
    done = haloyd("init")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("✖ Docker does not answer")
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_an_error() -> None:
    """Not help with exit code 0."""
    assert CliRunner().invoke(main, ["inti"]).exit_code == 2
