"""docs/reference/haloyd.md is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

import click

from haloy.daemon.command import reference
from haloy.daemon.command.main import main
from haloy.groups import commands_of

FOLDER = Path(__file__).parents[3] / "docs" / "reference"


def test_the_document_is_up_to_date(tmp_path: Path) -> None:
    """Python -m haloy.daemon.command.reference docs/reference writes it anew."""
    reference.main(str(tmp_path))
    written = (tmp_path / reference.NAME).read_text()
    assert (FOLDER / reference.NAME).read_text() == written


def test_every_command_prints_json_if_it_is_asked() -> None:
    """But for those that hand the terminal over."""
    without = {
        name
        for name, command in _commands(main, "haloyd")
        if "as_json" not in {one.name for one in command.params}
    }
    assert without == {"haloyd serve", "haloyd manhole"}


def _commands(group: click.Group, path: str) -> list[tuple[str, click.Command]]:
    found: list[tuple[str, click.Command]] = []
    for name, command in commands_of(group):
        if isinstance(command, click.Group):
            found += _commands(command, f"{path} {name}")
        else:
            found.append((f"{path} {name}", command))
    return found
