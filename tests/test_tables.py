"""Tables, and what stands for them where they would be too narrow."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from haloy.tables import full_width, least_width, print_table


def test_what_a_table_needs() -> None:
    """All of short columns, twelve cells of long ones; wide letters count twice."""
    assert least_width(["A", "B"], [["1", "x" * 50]]) == 1 + (1 + 3) + (12 + 3)
    assert least_width(["A"], [["漢字"]]) == 1 + 4 + 3
    assert least_width(["NAME"], []) == 8


def test_rows_instead(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names and values where a table would be too narrow, nothing cut."""
    rows = [["a", "y" * 40, "2"], ["[red]", "", "3"]]
    monkeypatch.setattr("haloy.tables.full_width", lambda *_: 20)
    print_table(["NAME", "IMAGE", "REPLICAS"], rows)
    assert capsys.readouterr().out == (
        "NAME      a\nIMAGE     \n"
        + ("y" * 20 + "\n") * 2
        + "REPLICAS  2\n\nNAME      [red]\nIMAGE     \nREPLICAS  3\n\n"
    )


@pytest.mark.parametrize("length", [1, 40, 5000])
def test_no_line_is_folded_in_a_pipe(
    length: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line a row, however long a reason is, and no wider than it must be."""
    rows = [["漢字", "x" * length], ["b", ""]]
    print_table(["NAME", "REASON"], rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3 + len(rows) + 1
    assert sum("x" * length in line for line in lines) == 1
    assert {cell_len(line) for line in lines} == {full_width(["NAME", "REASON"], rows)}
