"""Tables, or lines of name and value where a table could not be read."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

#: A column is read without trouble when it has this much room, or all that it needs.
COLUMN_WIDTH = 12
#: What stands beside the text of a column: a blank on each side and a line.
_FRAME = 3


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print C{rows} on stdout.

    What is piped is for programs: no line of theirs is ever folded, however long a
    reason is. Cells are what servers say, such as "[red]" or ":x:": none of it is
    rich's markup.
    """
    width = None if sys.stdout.isatty() else full_width(columns, rows)
    console = Console(
        file=sys.stdout, width=width, markup=False, emoji=False, highlight=width is None
    )
    if least_width(columns, rows) <= console.width:
        table = Table(header_style="bold", border_style="bright_black")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    longest = max(map(cell_len, columns))
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            name = Text(f"{column:{longest}}", "bold")
            console.print(Text.assemble(name, "  ", value), overflow="fold")
        console.print()


def least_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a terminal must be for a table that can be read."""
    return 1 + sum(min(one, COLUMN_WIDTH) + _FRAME for one in _widths(columns, rows))


def full_width(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return how wide a table is in which no cell is folded."""
    return 1 + sum(one + _FRAME for one in _widths(columns, rows))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [
        max(map(cell_len, cells), default=0)
        for cells in zip(columns, *rows, strict=True)
    ]
