"""Tables, and what stands for them where they would be too narrow."""

from __future__ import annotations

import pytest

from haloy.tables import least_width, print_table


def test_what_a_table_needs() -> None:
    """All of short columns, twelve cells of long ones; wide letters count twice."""
    assert least_width(["A", "B"], [["1", "x" * 50]]) == 1 + (1 + 3) + (12 + 3)
    assert least_width(["A"], [["漢字"]]) == 1 + 4 + 3
    assert least_width(["NAME"], []) == 8


def test_rows_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names and values, nothing cut; in a pipe it is a table however wide."""
    rows = [["a", "y" * 40, "2"], ["[red]", "", "3"]]
    monkeypatch.setattr("haloy.tables.PIPE_WIDTH", 20)
    print_table(["NAME", "IMAGE", "REPLICAS"], rows)
    assert capsys.readouterr().out == (
        "NAME      a\nIMAGE     \n"
        + ("y" * 20 + "\n") * 2
        + "REPLICAS  2\n\nNAME      [red]\nIMAGE     \nREPLICAS  3\n\n"
    )
    monkeypatch.setattr("haloy.tables.PIPE_WIDTH", 1000)
    print_table(["NAME", "IMAGE", "REPLICAS"], rows)
    assert "y" * 40 in capsys.readouterr().out
