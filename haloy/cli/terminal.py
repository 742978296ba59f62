"""C{haloy exec -it}: the terminal here is that of a command in a container."""

from __future__ import annotations

import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from zope.interface import implementer

from haloy.api.terminal import Start
from haloy.cli.context import Project, Selected, client_for
from haloy.cli.running import run
from haloy.errors import HaloyError, NotFound

READ_BYTES = 16 * 1024


def interact(
    project: Project,
    one: Selected,
    limit_s: float,
    container: str,
    command: tuple[str, ...],
) -> int:
    """Run C{command} with our input and output; return its exit code."""
    columns, rows = _size()
    start = Start(command, True, container, columns, rows)

    async def carry_out(reactor: Any) -> int:
        client = client_for(reactor, project, one, limit_s)
        version = await client.version()
        if "exec-interactive" not in (version.get("capabilities") or ()):
            raise HaloyError(
                f"the haloyd on {one.server} has no interactive exec; "
                "upgrade it, or leave -it out"
            )
        try:
            session = await client.terminal(one.app, start, _write)
        except NotFound as problem:
            raise NotFound(f"{one.app} on {one.server}: {problem}") from None
        keys = _Input(reactor, session)
        with _raw(), _resizing(reactor, session):
            keys.start()
            try:
                code: int = await session.result()
            finally:
                keys.stop()
        return code

    return run(carry_out)


def _size() -> tuple[int, int]:
    size = os.get_terminal_size(sys.stdout.fileno())
    return max(size.columns, 1), max(size.lines, 1)


def _write(stream: str, data: bytes) -> None:
    to = sys.stderr if stream == "stderr" else sys.stdout
    to.buffer.write(data)
    to.buffer.flush()


@contextmanager
def _raw() -> Iterator[None]:
    """Give every key to the command, Ctrl+C too; as it was at the end."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


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


@implementer(IReadDescriptor)
@define(eq=False)
class _Input:
    """Our input on its way to the command; read only when there is room."""

    _reactor: Any
    _session: Any
    _ended: bool = field(default=False, init=False)

    def start(self) -> None:
        """Begin when the command runs."""
        self._session.started.addCallback(lambda _: self._next())

    def stop(self) -> None:
        """Read no more."""
        self._ended = True
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        """Return what is read."""
        return sys.stdin.fileno()

    def logPrefix(self) -> str:
        """Name it in the log."""
        return "input"

    def doRead(self) -> None:
        """Take what is there."""
        self._reactor.removeReader(self)
        self._send()

    def connectionLost(self, reason: object) -> None:
        """Know that the reactor reads no more."""
        self._ended = True

    def _next(self) -> None:
        if not self._ended:
            self._reactor.addReader(self)

    def _send(self) -> None:
        if self._ended:
            return
        try:
            data = os.read(self.fileno(), READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._ended = True
            self._session.end_input()
            return
        sending = Deferred.fromCoroutine(self._session.write(data))
        sending.addCallbacks(lambda _: self._next(), lambda _: None)
