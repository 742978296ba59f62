"""Lines on our streams, whatever is drawn on them."""

from __future__ import annotations

import sys

import click


def echo(text: str = "", *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr; above what a terminal shows live.

    rich puts itself into C{sys.stdout} while it draws; without a file, click writes to
    the stream below it, into the middle of what is drawn.
    """
    click.echo(text, file=sys.stderr if err else sys.stdout)
