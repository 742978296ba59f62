"""What people see of a transfer."""

from __future__ import annotations

import pytest

from haloy.cli.output import Output
from haloy.cli.transfer import Transfer, readable


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 << 10, "1.5 MiB"),
        (5 << 40, "5.0 TiB"),
        (5 << 50, "5120.0 TiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    """The largest unit that leaves one digit before the point."""
    assert readable(size) == text


def test_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """One line when all has gone, also when some of it had to go twice."""
    transfer = Transfer(Output())
    moved = transfer.begin("web-1", 2048)
    moved(1024)
    moved(-1024)
    moved(2048)
    transfer.close()
    (line,) = capsys.readouterr().out.splitlines()
    assert "web-1" in line
    assert "Sent 2.0 KiB in" in line


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed with --quiet or --json."""
    for output in (Output(quiet=True), Output(as_json=True)):
        Transfer(output).begin("web-1", 1)(1)
    assert capsys.readouterr().out == ""
