"""The real command in a pseudo-terminal, and what a person sees on the screen."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyte

LIMIT_S = 40.0
INTERRUPT = "\x03"
END_OF_FILE = "\x04"
ENTER = "\r"


HALOY = (sys.executable, "-m", "haloy.cli.main")


class Tty:
    """A program with a terminal of its own: give it keys, look at the screen.

    Blocks while it waits: a test whose reactor serves uses it in a thread.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        *arguments: str,
        columns: int = 80,
        rows: int = 24,
        program: Sequence[str] = HALOY,
    ) -> None:
        self._ours, inner = pty.openpty()
        self.screen = pyte.HistoryScreen(columns, rows, history=2000)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        termios.tcsetwinsize(inner, (rows, columns))
        variables = {**environment, "TERM": "xterm-256color"}
        # What a line editor has left there is the size of another terminal.
        for name in ("COLUMNS", "LINES"):
            variables.pop(name, None)
        self._process = subprocess.Popen(
            # With the terminal as the controlling one: Ctrl+C is a signal then.
            ["setsid", "--ctty", *program, *arguments],
            cwd=folder,
            env=variables,
            stdin=inner,
            stdout=inner,
            stderr=inner,
        )
        os.close(inner)

    @property
    def pid(self) -> int:
        """The program, which leads a session of its own."""
        return self._process.pid

    def looks(self, pattern: str) -> bool:
        """Look at what there is within a moment; return whether it fits."""
        self._read(time.monotonic() + 0.1)
        return re.search(pattern, self.shown()) is not None

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._ours, keys.encode())

    def until_listening(self) -> None:
        """Wait until its reactor waits for something; where the kernel says so."""
        where = Path(f"/proc/{self._process.pid}/wchan")
        deadline = time.monotonic() + LIMIT_S / 4
        while time.monotonic() < deadline and "ep_poll" not in where.read_text():
            self._read(time.monotonic() + 0.1)

    def leave(self) -> int:
        """Press Ctrl+C, and again if that was too early; return the exit code.

        Python hears of a signal that comes just before it waits for a line only when
        that line is there.
        """
        deadline = time.monotonic() + LIMIT_S
        while self._process.poll() is None and time.monotonic() < deadline:
            self.press(INTERRUPT)
            again = time.monotonic() + 2.0
            while self._read(again):
                pass
        return self.end()

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.screen.resize(rows, columns)
        termios.tcsetwinsize(self._ours, (rows, columns))

    def until(self, text: str) -> str:
        """Wait until C{text} is on the screen; return the screen."""
        deadline = time.monotonic() + LIMIT_S
        while text not in self.shown():
            if not self._read(deadline):
                raise AssertionError(f"{text!r} is never shown:\n{self.shown()}")
        return self.shown()

    def until_fits(self, pattern: str) -> str:
        """Wait until what is on the screen fits, in one line; return the screen."""
        deadline = time.monotonic() + LIMIT_S
        while not re.search(pattern, self.shown(), re.MULTILINE):
            if not self._read(deadline):
                raise AssertionError(f"{pattern} never fits:\n{self.shown()}")
        return self.shown()

    def shown(self) -> str:
        """Return what is and was on the screen, without trailing blanks."""
        width = self.screen.columns
        above = [
            "".join(line[column].data for column in range(width))
            for line in self.screen.history.top
        ]
        lines = [line.rstrip() for line in [*above, *self.screen.display]]
        return "\n".join(lines).rstrip()

    def end(self) -> int:
        """Wait for the command's end; return its exit code, negative for a signal."""
        deadline = time.monotonic() + LIMIT_S
        while self._read(deadline):
            pass
        code = self._process.wait(max(deadline - time.monotonic(), 1.0))
        assert "Traceback" not in self.shown(), self.shown()
        return code

    def close(self) -> None:
        """End the command if it still runs, and put the terminal away."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        os.close(self._ours)

    def __enter__(self) -> Tty:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        self.close()

    def _read(self, deadline: float) -> bool:
        """Take what is written; false at the end or when time is up."""
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([self._ours], [], [], left_s)[0]:
            return False
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other side is closed
            return False
        self.raw += data
        self._stream.feed(data)
        return bool(data)
