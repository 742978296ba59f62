"""C{haloy exec -it}: only where there is a terminal, and the terminal stays whole."""

from __future__ import annotations

import os
import pty
import sys
import termios
from pathlib import Path

import pytest
from click.testing import CliRunner

from haloy.cli import terminal
from haloy.cli.execute import exec_


def test_without_a_terminal_it_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In scripts it would wait for keys that nobody presses."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "haloy.yaml").write_text("name: shop\nserver: localhost\n")
    done = CliRunner().invoke(exec_, ["-it", "--", "sh"])
    assert (done.exit_code, "needs a terminal" in done.output) == (2, True)
    for more in ("--json", "--all-containers"):
        done = CliRunner().invoke(exec_, ["-it", more, "--", "sh"])
        assert (done.exit_code, "one container" in done.output) == (2, True)


def test_the_terminal_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raw while the command has it, also when that ends badly."""
    outer, inner = pty.openpty()
    with os.fdopen(inner, "r") as stream:
        monkeypatch.setattr(sys, "stdin", stream)
        before = termios.tcgetattr(inner)

        def fail() -> None:
            with terminal._raw():
                assert not termios.tcgetattr(inner)[3] & termios.ICANON
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert termios.tcgetattr(inner) == before
    os.close(outer)
