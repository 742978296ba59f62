"""Shows how far large transfers are: bars in a terminal, else a line at the end."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import Any

from attrs import define, field

from haloy.cli.output import Output

#: Columns for all that is known of a transfer.
WIDE = 80
_UNITS = ("KiB", "MiB", "GiB", "TiB")


def readable(size: int) -> str:
    """Return a number of bytes as people read it, as in C{1.5 MiB}."""
    if size < 1024:
        return f"{size} B"
    amount, unit = size / 1024, 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.1f} {_UNITS[unit]}"


@define(eq=False)
class Transfer:
    """One bar for each server, all at once."""

    _output: Output
    _bars: Any = field(default=None, init=False)

    def begin(self, server: str, size: int) -> Callable[[int], None]:
        """Show a transfer of C{size} bytes; call the result with what has moved."""
        if self._output.quiet or self._output.as_json:
            return lambda _: None
        if not self._output.is_live:
            return _Lines(self._output, server, size).moved
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        task = self._bars.add_task(server, total=size)
        return lambda moved: self._bars.advance(task, moved)

    def close(self) -> None:
        """Show nothing more."""
        if self._bars is not None:
            self._bars.stop()


@define(eq=False)
class _Lines:
    """Where there is no terminal: one line when all has gone."""

    _output: Output
    _server: str
    _size: int
    _moved: int = field(default=0, init=False)
    _began_s: float = field(factory=time.monotonic, init=False)

    def moved(self, size: int) -> None:
        self._moved += size
        if size > 0 and self._moved >= self._size:
            lasted_s = max(time.monotonic() - self._began_s, 0.001)
            self._output.info(
                f"Sent {readable(self._moved)} in {lasted_s:.1f} s "
                f"({readable(int(self._moved / lasted_s))}/s)",
                self._server,
            )


def _bars() -> Any:
    """Return bars for this terminal; a narrow one has no room for bytes and times."""
    # Only commands that send something pay for the library.
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    name = TextColumn("[bold]{task.description}")
    if shutil.get_terminal_size().columns < WIDE:
        return Progress(name, BarColumn(10), TaskProgressColumn())
    return Progress(
        name,
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
