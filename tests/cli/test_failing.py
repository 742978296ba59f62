"""How what went wrong is shown."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from haloy.cli import main as command
from haloy.cli.failing import (
    fail,
    fail_unexpectedly,
    fail_usage,
    problem_texts,
)
from haloy.errors import ConfigError, HaloyError, ServerUnreachable

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> str:
    """Write a file with a line that has a secret on it."""
    path = tmp_path / "haloy.yaml"
    path.write_text("name: shop\nenv: [{name: A, value: s3cret}]\nport: abc\n")
    return str(path)


def test_the_line_is_shown_with_a_mark(file: str) -> None:
    """As far as line and column are known, and the file is still there."""
    (text,) = problem_texts(ConfigError("port: is odd", file, 3, 7))
    assert text.split("\n") == [
        f"{file}:3:7: port: is odd",
        "    3 | port: abc",
        "      |       ^",
    ]
    (text,) = problem_texts(ConfigError("is odd", file, 3))
    assert text == f"{file}:3: is odd\n    3 | port: abc"
    (text,) = problem_texts(ConfigError("is odd", file, 3, 50))
    assert text.endswith("| port: abc")
    assert list(problem_texts(ConfigError("is odd", file))) == [f"{file}: is odd"]
    assert list(problem_texts(ConfigError("is odd", file, 99))) == [
        f"{file}:99: is odd"
    ]
    assert list(problem_texts(ConfigError("is odd", "gone", 1))) == ["gone:1: is odd"]
    assert list(problem_texts(ConfigError("no token"))) == ["no token"]


def test_no_value_is_shown(file: str) -> None:
    """A literal on the line may be a secret, and CI keeps its logs."""
    (text,) = problem_texts(ConfigError("env[0]: is odd", file, 2, 7))
    assert "s3cret" not in text
    assert "value: ***" in text


def test_what_has_its_context_gets_no_other(file: str) -> None:
    """Syntax errors come with the lines around."""
    problem = ConfigError("expected a mapping\n> 1 | x", file, 1, 1)
    assert list(problem_texts(problem)) == [f"{file}:1:1: expected a mapping\n> 1 | x"]


def test_each_thing_is_told(file: str) -> None:
    """Several at once, each at its place."""
    problem = ConfigError("one", file, 1, 1, (ConfigError("two", file, 3, 1),))
    one, two = problem_texts(problem)
    assert (one.split("\n")[0], two.split("\n")[0]) == (
        f"{file}:1:1: one",
        f"{file}:3:1: two",
    )


def test_json_has_code_and_place(file: str, capsys: Captured) -> None:
    """One document on stdout, the line for people on stderr."""
    assert fail(ConfigError("is odd", file, 3, 7), as_json=True) == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out) == {
        "error": {
            "code": "config",
            "message": f"{file}:3: is odd",
            "exitCode": 3,
            "file": file,
            "line": 3,
            "column": 7,
        }
    }
    assert shown.err.startswith("✖ ")
    assert fail(ServerUnreachable("gone"), as_json=False) == 5
    assert capsys.readouterr() == ("", "✖ gone\n")


def test_json_of_a_wrong_command_line(capsys: Captured) -> None:
    """The same form, code usage."""
    fail_usage(click.UsageError("no such option"))
    assert json.loads(capsys.readouterr().out)["error"] == {
        "code": "usage",
        "message": "no such option",
        "exitCode": 2,
    }


def test_what_nobody_thought_of_is_one_line(capsys: Captured) -> None:
    """A traceback only when asked for; a full disk is nobody's mistake here."""
    problem = ZeroDivisionError("by zero")
    assert fail_unexpectedly(problem, debug=False, as_json=False) == 1
    told = capsys.readouterr().err
    assert "ZeroDivisionError: by zero" in told
    assert "HALOY_DEBUG=1" in told
    assert len(told.splitlines()) == 1
    full = OSError(errno.ENOSPC, "No space left on device")
    assert fail_unexpectedly(full, debug=False, as_json=True) == 1
    shown = capsys.readouterr()
    assert "No space left" in shown.err
    assert json.loads(shown.out)["error"]["exitCode"] == 1
    fail_unexpectedly(problem, debug=True, as_json=False)
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("problem", "code"),
    [
        (KeyboardInterrupt(), 130),
        (HaloyError("no"), 1),
        (PermissionError(errno.EACCES, "Permission denied"), 1),
        (RuntimeError("boom"), 1),
        (click.Abort(), 1),
        (click.FileError("x"), 1),
    ],
)
def test_the_command_ends_with_a_code(
    problem: BaseException, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a command raises: no traceback, ever."""
    monkeypatch.delenv("HALOY_DEBUG", raising=False)

    @click.command("version")
    def failing() -> None:
        raise problem

    monkeypatch.setattr(command.main, "get_command", lambda *_: failing)
    done = CliRunner().invoke(command.main, ["version"])
    assert done.exit_code == code
    assert "Traceback" not in done.output
