"""The reference of the commands is that of the commands."""

from __future__ import annotations

from pathlib import Path

from haloy.cli.main import COMMANDS
from haloy.cli.reference import render

ROOT = Path(__file__).parents[2]


def test_it_is_what_would_be_written() -> None:
    """Written anew by: python -m haloy.cli.reference > docs/reference/commands.md."""
    assert (ROOT / "docs" / "reference" / "commands.md").read_text() == render()


def test_it_has_every_command_and_option() -> None:
    """Groups too, and what is below them."""
    told = render()
    assert all(f"\n## haloy {name}\n" in told for name in COMMANDS)
    assert "\n## haloy server registry login\n" in told
    assert "| `--dry-run` |" in told
