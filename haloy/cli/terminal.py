"""C{haloy exec -i} and C{-it}: our input and output are those of a command.

With C{-it} the terminal here is the command's. With C{-i} bytes go both ways as they
are, for pipes: C{pg_dump | gzip > file} or C{< dump.sql}.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from haloy.api.terminal import Start
from haloy.cli.context import Project, Selected, client_for
from haloy.cli.echo import echo
from haloy.cli.running import run
from haloy.cli.streams import Inlet, Outlet
from haloy.errors import HaloyError, NotFound


def interact(
    project: Project,
    one: Selected,
    limit_s: float,
    container: str,
    command: tuple[str, ...],
    *,
    as_terminal: bool,
) -> int:
    """Run C{command} with our input and output; return its exit code.

    @param as_terminal: it gets a terminal, and every key of ours.
    """
    columns, rows = _size() if as_terminal else (80, 24)
    start = Start(command, as_terminal, container, columns, rows)

    async def carry_out(reactor: Any) -> int:
        client = client_for(reactor, project, one, limit_s)
        version = await client.version()
        if "exec-interactive" not in (version.get("capabilities") or ()):
            raise HaloyError(
                f"the haloyd on {one.server} has no exec with input; "
                "upgrade it, or leave -i and -it out"
            )
        out = Outlet(reactor)
        try:
            session = await client.terminal(one.app, start, out.take)
        except NotFound as problem:
            raise NotFound(f"{one.app} on {one.server}: {problem}") from None
        out.source = session
        keys = Inlet(reactor, session)
        with (
            _raw() if as_terminal else nullcontext(),
            _resizing(reactor, session) if as_terminal else nullcontext(),
        ):
            keys.start()
            try:
                code: int = await session.result()
                await out.written()
            except HaloyError:
                out.check()  # what ended it, where that was here
                raise
            finally:
                keys.stop()
                out.stop()
        return code

    return run(carry_out)


def _size() -> tuple[int, int]:
    size = os.get_terminal_size(sys.stdout.fileno())
    return max(size.columns, 1), max(size.lines, 1)


@contextmanager
def _raw() -> Iterator[None]:
    """Give every key to the command, Ctrl+C too; as it was at the end.

    What went wrong is told on a line of its own, not behind the command's prompt.
    """
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    failed = False
    try:
        tty.setraw(descriptor)
        yield
    except HaloyError:
        failed = True
        raise
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        if failed:
            echo(err=True)


@contextmanager
def _resizing(reactor: Any, session: Any) -> Iterator[None]:
    """Tell the command when the terminal changes its size."""

    def changed(*_: object) -> None:
        reactor.callFromThread(lambda: session.resize(*_size()))

    before = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
