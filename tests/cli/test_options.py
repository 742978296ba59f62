"""Options that several commands share."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from haloy.cli.options import (
    Selection,
    app_options,
    file_options,
    output_options,
    server_options,
    target_options,
)
from haloy.cli.output import Output


def test_targets_come_by_commas_and_by_repeating() -> None:
    """CLI section 9, point 15: -t, --target and --targets are the same."""
    seen: list[Selection] = []

    @click.command()
    @target_options
    def command(selection: Selection) -> None:
        seen.append(selection)

    CliRunner().invoke(command, ["-t", "a, b", "--target", "c", "--targets", ",d"])
    CliRunner().invoke(command, ["-c", "x.yaml", "--all", "--timeout", "7"])
    assert seen == [
        Selection(names=("a", "b", "c", "d")),
        Selection(config="x.yaml", everything=True, limit_s=7),
    ]


def test_nobody_waits_for_a_file() -> None:
    """Where no server is asked there is no time to wait for its answer."""
    seen: list[Selection] = []

    @click.command()
    @file_options
    def command(selection: Selection) -> None:
        seen.append(selection)

    CliRunner().invoke(command, ["-c", "x.yaml", "--all", "-t", "a"])
    assert seen == [Selection(config="x.yaml", names=("a",), everything=True)]
    assert CliRunner().invoke(command, ["--timeout", "7"]).exit_code == 2


def test_apps_and_servers_are_selected_without_a_configuration() -> None:
    """By name; a server command knows no app."""
    seen: list[Selection] = []

    @click.command()
    @app_options
    def one(selection: Selection) -> None:
        seen.append(selection)

    @click.command()
    @server_options
    def other(selection: Selection) -> None:
        seen.append(selection)

    CliRunner().invoke(one, ["-s", "x.example.com", "--app", "shop"])
    CliRunner().invoke(other, ["--server", "x.example.com"])
    assert CliRunner().invoke(other, ["--app", "shop"]).exit_code == 2
    assert seen == [
        Selection(server="x.example.com", app="shop"),
        Selection(server="x.example.com"),
    ]


@pytest.mark.parametrize("option", ["--server", "--app", "--targets", "--config"])
def test_an_empty_value_is_a_mistake(option: str) -> None:
    """C{--server "$SERVER"} with nothing in it must not choose something else."""

    @click.command()
    @app_options
    def command(selection: Selection) -> None:
        raise AssertionError(selection)

    done = CliRunner().invoke(command, [option, " "])
    assert (done.exit_code, "is empty" in done.output) == (2, True)


def test_how_to_speak_is_an_object() -> None:
    """--json and --quiet make an output."""
    seen: list[tuple[bool, bool]] = []

    @click.command()
    @output_options
    def command(output: Output) -> None:
        seen.append((output.as_json, output.quiet))

    for arguments in ([], ["--json"], ["-q"]):
        CliRunner().invoke(command, arguments)
    assert seen == [(False, False), (True, False), (False, True)]


@pytest.mark.parametrize(
    ("selection", "again"),
    [
        (Selection(), ""),
        (Selection(config="x"), " --config x"),
        (Selection(names=("a", "b")), " --targets a --targets b"),
        (Selection(server="s", app="b"), " --server s --app b"),
        (Selection(everything=True), " --all"),
    ],
)
def test_a_hint_selects_the_same(selection: Selection, again: str) -> None:
    """The options of a command that is suggested."""
    assert selection.again == again
