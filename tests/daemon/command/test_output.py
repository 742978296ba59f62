"""What C{haloyd} commands print."""

from __future__ import annotations

import pytest

from haloy.daemon.command.output import tell, tell_table


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
