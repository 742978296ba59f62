"""The C{haloyd} command as a whole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from haloy.daemon.command.main import main
from haloy.groups import commands_of
from tests.daemon.command.conftest import Haloyd


@pytest.mark.parametrize("words", [["-h"], ["--help"], ["help"], []])
def test_help_names_every_command(words: list[str]) -> None:
    """Every spelling works, and none: on stdout, nothing is wrong."""
    told = CliRunner().invoke(main, words)
    assert (told.exit_code, told.stderr) == (0, "")
    for command in ("init", "serve", "verify", "version"):
        assert command in told.stdout


def groups(command: click.Group, path: tuple[str, ...] = ()) -> Iterator[list[str]]:
    """Give every group below C{command} by its words."""
    for name, below in commands_of(command):
        if isinstance(below, click.Group):
            yield [*path, name]
            yield from groups(below, (*path, name))


@pytest.mark.parametrize("words", list(groups(main)), ids=" ".join)
def test_help_of_a_group(words: list[str]) -> None:
    """C{haloyd help token}, C{haloyd token} and C{haloyd token help} are one."""
    told = [
        CliRunner().invoke(main, each)
        for each in (["help", *words], words, [*words, "help"])
    ]
    assert [(one.exit_code, one.stderr) for one in told] == [(0, "")] * 3
    assert {one.stdout for one in told} == {told[0].stdout}
    assert f"{' '.join(words)} [OPTIONS] COMMAND" in told[0].stdout


#: A command whose modules are many, and how often garbage was looked for meanwhile.
COLLECTIONS = """
import gc, sys
from haloy.daemon.command.main import main
began = []
gc.callbacks.append(lambda phase, _: began.append(phase))
sys.argv = ["haloyd", "verify", "--help"]
try:
    main()
except SystemExit as ended:
    print(ended.code, len(began), gc.get_freeze_count() > 0)
"""


def test_no_garbage_is_looked_for_while_a_command_starts() -> None:
    """Nor at its end: a sixth of what C{haloyd verify} took."""
    done = subprocess.run(
        [sys.executable, "-c", COLLECTIONS],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    code, looks, frozen = done.stdout.splitlines()[-1].split()
    assert (code, frozen) == ("0", "True")
    assert int(looks) < 10


def test_a_known_problem_is_one_line_and_no_traceback(haloyd: Haloyd) -> None:
    """Docker is away: exit code 1, one line that says so."""
    done = haloyd("init")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("✖ Docker does not answer")
    assert "Traceback" not in done.stderr


def test_an_unknown_command_is_an_error() -> None:
    """Not help with exit code 0; what is near is named."""
    told = CliRunner().invoke(main, ["inti"])
    assert (told.exit_code, "did you mean init?" in told.stderr) == (2, True)


#: What prints nothing by itself: the daemon, and a prompt.
ITSELF = {"serve", "manhole"}


def leaves(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Command]]:
    """Give every command that does something, by its words."""
    if not isinstance(command, click.Group):
        yield " ".join(path), command
        return
    for name, below in commands_of(command):
        yield from leaves(below, (*path, name))


def test_every_command_has_json_and_help() -> None:
    """A script can read each of them; a person finds what it is for."""
    found = dict(leaves(main))
    assert len(found) > 18
    without = {
        name
        for name, one in found.items()
        if not any("--json" in option.opts for option in one.params)
    }
    assert without == ITSELF
    assert all(one.help for one in found.values())


def test_every_list_and_check_prints_one_object(haloyd: Haloyd) -> None:
    """On a server without anything, too: its own, or one with the error."""
    for name, _ in leaves(main):
        reads = name.split()[-1] in {"verify", "doctor", "get", "check", "list"}
        if not reads and name != "version":
            continue
        done = haloyd(*name.split(), "--json")
        if done.returncode == 0 or name in {"verify", "doctor"}:
            assert "error" not in json.loads(done.stdout), name
        else:
            error = json.loads(done.stdout)["error"]
            assert (error["exitCode"], done.returncode) == (1, 1), name
            assert done.stderr == f"✖ {error['message']}\n", name
        assert "Traceback" not in done.stderr


def test_a_wrong_command_line_is_json_too(haloyd: Haloyd) -> None:
    """A script that reads stdout finds a reason there, with the code of C{haloy}."""
    done = haloyd("config", "set", "disk.keep", "--json")
    assert done.returncode == 2
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["exitCode"]) == ("usage", 2)


def test_an_output_that_takes_nothing(haloyd: Haloyd) -> None:
    """A full disk under stdout is one line, not a traceback."""
    done = haloyd("version", stdout="/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("✖ this machine refuses it: No space left on device")
    assert "Traceback" not in done.stderr
