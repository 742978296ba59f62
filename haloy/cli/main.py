"""C{haloy}: deploy containers to your own servers.

Commands are loaded when they are called, so that help and completion are fast.
"""

from __future__ import annotations

import difflib
import importlib
import sys
from typing import Any

import click

from haloy.cli.exits import exit_code
from haloy.errors import HaloyError

#: command -> module under C{haloy.cli} and the help shown in the list.
COMMANDS = {
    "deploy": ("deploy", "Build, upload and deploy."),
    "status": ("status", "Show how an app is, or all apps of a server."),
    "logs": ("logs", "Show what an app's containers write."),
    "rollback": ("rollback", "Go back to a kept deployment."),
    "rollback-targets": ("rollback", "List what can be rolled back to."),
    "stop": ("stop", "Stop an app."),
    "validate-config": ("validate", "Check haloy.yaml."),
    "server": ("server", "Add, list and delete servers."),
    "version": ("version", "Print the version."),
}


class LazyGroup(click.Group):
    """Imports a command's module when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command."""
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module = importlib.import_module(f"haloy.cli.{found[0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the list without importing every command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; suggest one for a near miss."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as problem:
            near = difflib.get_close_matches(args[0], COMMANDS, 3, 0.5)
            if not near:
                raise
            hint = f"{problem.message} Did you mean {' or '.join(near)}?"
            raise click.UsageError(hint, ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a known problem is one red line and an exit code."""
        try:
            return super().invoke(ctx)
        except HaloyError as problem:
            click.echo(f"{click.style('✖', fg='red')} {problem}", err=True)
            sys.exit(exit_code(problem))


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def main() -> None:
    """Deploy containers to your own servers, without losing a request."""


if __name__ == "__main__":
    main()
