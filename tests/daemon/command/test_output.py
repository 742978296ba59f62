"""What C{haloyd} commands print."""

from __future__ import annotations

from contextlib import nullcontext
from io import StringIO

import click
import pytest

from haloy.daemon.command.output import confirm, tell, tell_table
from haloy.errors import HaloyError


def test_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    """A table for people, one object for machines."""
    tell_table({"all": ["b"]}, ("NAME",), [("b",)], as_json=False)
    shown = capsys.readouterr().out
    assert "NAME" in shown
    assert "b" in shown
    tell_table({"all": ["b"]}, ("NAME",), [("b",)], as_json=True)
    assert capsys.readouterr().out == '{"all": ["b"]}\n'


def test_for_machines_and_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, or lines."""
    tell({"a": 1}, ["line"], as_json=True)
    tell({"a": 1}, ["line"], as_json=False)
    assert capsys.readouterr().out == '{"a": 1}\nline\n'


def test_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Yes goes on, no ends; where nobody answers it is said how to go on without."""
    for answer, ends in (("y\n", None), ("n\n", click.Abort), ("", HaloyError)):
        monkeypatch.setattr("sys.stdin", StringIO(answer))
        with (
            pytest.raises(ends, match="--yes")
            if ends is HaloyError
            else (pytest.raises(ends) if ends else nullcontext())
        ):
            confirm("Go on?")
