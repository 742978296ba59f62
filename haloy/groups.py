"""What C{haloy} and C{haloyd} do alike with a group of commands."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator, Mapping

import click


class SuggestingGroup(click.Group):
    """Suggests commands when an unknown one is asked for.

    Alone, and by the word C{help}, it shows its help and nothing is wrong
    (C{spec/cli.md} 1).

    @cvar elsewhere: commands that other tools have, and what is done here instead.
    """

    elsewhere: Mapping[str, str] = {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command line; C{help deploy} is C{deploy --help}."""
        if args[:1] == ["help"]:
            args = [*args[1:], "--help"]
        elif not args and not ctx.resilient_parsing:
            args = ["--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; suggest one for a near miss."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            hint = self._hint(ctx, args[0])
            raise click.UsageError(
                f"there is no command {args[0]!r}; {hint}", ctx
            ) from None

    def _hint(self, ctx: click.Context, asked: str) -> str:
        if asked in self.elsewhere:
            return self.elsewhere[asked]
        near = difflib.get_close_matches(asked, self.list_commands(ctx), 3, 0.5)
        if near:
            return f"did you mean {' or '.join(near)}?"
        return f"`{ctx.command_path} --help` lists the commands."


class LazyGroup(SuggestingGroup):
    """Imports a command's module when it is called, so that help is there at once.

    C{commands_by_name} has C{module:attribute}, with the module below C{package}, and
    the text for the list.
    """

    package = ""
    commands_by_name: Mapping[str, tuple[str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.commands_by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one command."""
        found = self.commands_by_name.get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        try:
            loaded = importlib.import_module(f"{self.package}.{module}")
        except ImportError as problem:  # a file or a library that is lost
            raise click.ClickException(
                f"this installation is not whole: {problem}; install Haloy again"
            ) from problem
        command: click.Command = getattr(loaded, attribute)
        return command

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the list without importing every command."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, text) for name, (_, text) in self.commands_by_name.items()]
            )


def commands_of(group: click.Group) -> Iterator[tuple[str, click.Command]]:
    """Yield every command of C{group} with its name, loaded where that is needed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None:
            yield name, command
