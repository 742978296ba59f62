"""Groups of commands that are loaded when called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from haloy.groups import SuggestingGroup


class LazyGroup(SuggestingGroup):
    """Imports a command's module when it is called.

    C{commands_by_name} has the module under C{haloy.cli} and the text for the list.
    """

    commands_by_name: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command."""
        found = self.commands_by_name.get(cmd_name)
        if found is None:
            return None
        module = importlib.import_module(f"haloy.cli.{found[0]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_")
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the list without importing every command."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, text) for name, (_, text) in self.commands_by_name.items()]
            )
