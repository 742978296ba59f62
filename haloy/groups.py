"""What C{haloy} and C{haloyd} do alike with a group of commands."""

from __future__ import annotations

import difflib

import click


class SuggestingGroup(click.Group):
    """Suggests commands when an unknown one is asked for.

    Alone, and by the word C{help}, it shows its help and nothing is wrong
    (C{spec/cli.md} 1).
    """

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
            names = self.list_commands(ctx)
            near = difflib.get_close_matches(args[0], names, 3, 0.5)
            hint = (
                f"did you mean {' or '.join(near)}?"
                if near
                else f"`{ctx.command_path} --help` lists the commands."
            )
            raise click.UsageError(
                f"there is no command {args[0]!r}; {hint}", ctx
            ) from None
