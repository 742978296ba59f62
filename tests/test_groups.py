"""Groups of commands suggest, and help is no mistake."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from haloy.groups import LazyGroup, SuggestingGroup, commands_of


@click.group(cls=SuggestingGroup)
def tools() -> None:
    """Tools."""


@tools.command()
def hammer() -> None:
    """Hit."""


def test_a_near_miss_is_suggested() -> None:
    """In groups as at the top; nothing near: where the list is."""
    done = CliRunner().invoke(tools, ["hamer"])
    assert (done.exit_code, "did you mean hammer?" in done.output) == (2, True)
    done = CliRunner().invoke(tools, ["xyz"])
    assert (done.exit_code, "--help` lists" in done.output) == (2, True)
    assert CliRunner().invoke(tools, ["hammer"]).exit_code == 0


@pytest.mark.parametrize("arguments", [[], ["help"]])
def test_help_is_no_mistake(arguments: list[str]) -> None:
    """On stdout with exit code 0 (C{spec/cli.md} 1)."""
    done = CliRunner().invoke(tools, arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "hammer" in done.stdout


def test_help_of_a_command() -> None:
    """C{help hammer} is C{hammer --help}; of nothing it is a mistake."""
    done = CliRunner().invoke(tools, ["help", "hammer"])
    assert (done.exit_code, "Hit." in done.stdout) == (0, True)
    assert CliRunner().invoke(tools, ["help", "nothing"]).exit_code == 2


class _Lazy(LazyGroup):
    package = "haloy.cli"
    commands_by_name = {"version": ("version:version_", "Print it.")}  # noqa: RUF012


class _Damaged(LazyGroup):
    package = "haloy.cli"
    commands_by_name = {"gone": ("gone:gone", "Lost.")}  # noqa: RUF012


def test_a_module_that_is_lost() -> None:
    """One line says what is missing and what to do."""
    done = CliRunner().invoke(_Damaged("damaged"), ["gone"])
    assert done.exit_code == 1
    assert "not whole: No module named 'haloy.cli.gone'; install" in done.output
    assert "Traceback" not in done.output


def test_a_module_is_loaded_when_called() -> None:
    """The list needs none of them; who asks for all of them gets them."""
    group = _Lazy("lazy")
    assert "Print it." in CliRunner().invoke(group, ["--help"]).output
    assert CliRunner().invoke(group, ["version"]).exit_code == 0
    assert CliRunner().invoke(group, ["nothing"]).exit_code == 2
    assert [name for name, _ in commands_of(group)] == ["version"]
