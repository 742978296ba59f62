"""The reference of the commands, written from the commands.

C{python -m haloy.cli.reference > docs/reference/commands.md} writes it anew; a test
fails when it is not what this would write.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import click

from haloy.cli.main import main

_HEAD = """\
# Commands

All commands of `haloy`, as `haloy COMMAND --help` shows them. Every command ends with
one of the [exit codes](exit-codes.md). With `--json` it prints one JSON document on
stdout (`logs` and `server logs` one on each line) and everything for people on stderr;
a command that cannot do its work prints
`{"error": {"code": …, "message": …, "exitCode": …}}`. What each command prints is
described by [a JSON Schema](haloy-output.schema.json), in its `$defs` under the
command's name, such as `haloy status`. Keys are written as in `exitCode`; those of
`haloy server version` are the API's own, written as in `haloy_proxy`. Later versions
add keys and never rename them.
"""


def render() -> str:
    """Return the reference as Markdown."""
    context = click.Context(main, info_name="haloy")
    return _HEAD + "".join(_command(main, context, top=True))


def _command(
    command: click.Command, context: click.Context, *, top: bool = False
) -> Iterator[str]:
    if not top:
        yield f"\n## haloy {_path(context)}\n\n"
        yield f"```text\n{_usage(command, context)}\n```\n\n"
        yield f"{_text(inspect.cleandoc(command.help or ''))}\n"
        rows = list(_rows(command, context))
        if rows:
            yield "\n| option | meaning |\n|---|---|\n"
            yield from rows
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                below = click.Context(inner, info_name=name, parent=context)
                yield from _command(inner, below)


def _path(context: click.Context) -> str:
    return context.command_path.removeprefix("haloy ")


def _usage(command: click.Command, context: click.Context) -> str:
    return " ".join([context.command_path, *command.collect_usage_pieces(context)])


def _text(help_text: str) -> str:
    """Return a docstring as Markdown; what is not to be wrapped becomes a block."""
    shown = []
    for part in help_text.split("\n\n"):
        if part.startswith("\b"):
            shown.append(f"```text\n{part.removeprefix(chr(8)).strip(chr(10))}\n```")
        else:
            shown.append(part)
    return "\n\n".join(shown)


def _rows(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.params:
        record: Any = (
            parameter.get_help_record(context)
            if isinstance(parameter, click.Option)
            else None
        )
        if record is not None:
            names, meaning = (part.replace("|", "\\|") for part in record)
            yield f"| `{names}` | {meaning} |\n"


if __name__ == "__main__":
    click.echo(render(), nl=False)
