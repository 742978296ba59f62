"""Questions to the person at the terminal."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import click

from haloy.cli.echo import echo
from haloy.cli.exits import INTERRUPTED


def confirm(question: str) -> None:
    """Ask; return when the answer is yes. @raise click.Abort: it is not."""
    with interruptible():
        click.confirm(question, abort=True, err=True)


@contextmanager
def interruptible() -> Iterator[None]:
    """Have Ctrl+C end the command while it waits for an answer, with 130.

    click takes it for a no, and the reactor would hear of it after the answer.
    Ctrl+D leaves the cursor behind the question: what is said next has its own line.
    """
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    except click.Abort as left:
        if isinstance(left.__context__, EOFError):
            echo(err=True)
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    echo(err=True)
    raise SystemExit(INTERRUPTED)
