"""What all C{haloyd} commands say: JSON for machines, lines for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from haloy.errors import HaloyError

F = TypeVar("F", bound=Callable[..., Any])


def json_option(command: F) -> F:
    """Add C{--json}, which arrives as C{as_json}."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON object."
    )(command)


def confirm(question: str, *, err: bool = False) -> None:
    """Ask, and go on only with a yes.

    @raise click.Abort: the answer is no.
    @raise HaloyError: there is none, as in a script.
    """
    try:
        agreed = click.confirm(question, err=err)
    except click.Abort:
        click.echo(err=err)
        raise HaloyError(
            "no answer, so nothing was done; --yes skips the question"
        ) from None
    if not agreed:
        raise click.Abort


def tell(value: Mapping[str, Any], lines: Iterable[str], as_json: bool) -> None:
    """Print C{value} as one JSON object, or C{lines}."""
    if as_json:
        click.echo(json.dumps(value))
        return
    for line in lines:
        click.echo(line)


def tell_table(
    value: Mapping[str, Any],
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    as_json: bool,
) -> None:
    """Print C{value} as one JSON object, or a table."""
    if as_json:
        tell(value, (), as_json)
        return
    from haloy.tables import print_table  # noqa: PLC0415  (rich takes a while)

    print_table(columns, rows)
