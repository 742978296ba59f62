"""What C{haloyd} commands print."""

from __future__ import annotations

import pytest

from haloy.daemon.command.output import columns, tell


def test_columns() -> None:
    """As wide as the widest cell; nothing hangs over at the end."""
    assert columns([("A", "LONG"), ("longer", "b")]) == ["A       LONG", "longer  b"]


def test_for_machines_and_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """One object, or lines."""
    tell({"a": 1}, ["line"], as_json=True)
    tell({"a": 1}, ["line"], as_json=False)
    assert capsys.readouterr().out == '{"a": 1}\nline\n'
