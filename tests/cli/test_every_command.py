"""What holds for each command, by a walk over all of them."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from haloy.cli.main import main

#: Prints a script for a shell, which is the same for people and for programs.
WITHOUT = {"completion"}
#: Asks no server.
HERE = {
    *("init", "validate-config", "targets", "completion", "version"),
    *("server add", "server delete", "server list"),
}


def leaves(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        below = command.get_command(context, name)
        assert below is not None
        yield from leaves(below, (*path, name))


ALL = dict(leaves())


def options(command: click.Command) -> set[str]:
    return {name for one in command.params for name in one.opts}


def test_there_are_some() -> None:
    """The walk finds commands and those below groups."""
    assert {"deploy", "server registry login", "tokens list"} < ALL.keys()


@pytest.mark.parametrize("name", ALL)
def test_for_programs(name: str) -> None:
    """C{--json} and C{--quiet} everywhere, a time-out only where a server is asked."""
    found = options(ALL[name])
    assert {"--json", "--quiet", "-q"} <= found or name in WITHOUT
    assert ("--timeout" in found) == (name not in HERE)


@pytest.mark.parametrize("name", ALL)
def test_help_and_mistakes(name: str) -> None:
    """Help tells of each option; an unknown one is exit code 2 and no help."""
    shown = CliRunner().invoke(main, [*name.split(), "--help"])
    assert shown.exit_code == 0
    assert "\\b" not in shown.output
    assert "\b" not in shown.output
    for parameter in ALL[name].params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, parameter.name
            assert parameter.opts[0] in shown.output
    done = CliRunner().invoke(main, [*name.split(), "--no-such-option"])
    assert done.exit_code == 2
    assert "No such option" in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("tag", ["", " ", "a b", "-x", "x" * 129, "a:b", "ä"])
def test_what_is_no_tag(tag: str) -> None:
    """C{--tag "$TAG"} with nothing in it must not deploy another tag."""
    done = CliRunner().invoke(main, ["deploy", "--tag", tag])
    assert (done.exit_code, "is no tag" in done.output) == (2, True)


def test_an_abbreviation_is_no_option() -> None:
    """What means one thing today may mean two tomorrow."""
    assert CliRunner().invoke(main, ["deploy", "--dry"]).exit_code == 2
