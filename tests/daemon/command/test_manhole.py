"""C{haloyd manhole}: what is typed arrives, what is answered is shown."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

from click.testing import CliRunner

from haloy.daemon.command.main import main
from haloy.daemon.command.manhole import relay


def test_relay() -> None:
    """The end of the input is ^D; the prompt's end is the end."""
    ours, theirs = socket.socketpair()
    typed_read, typed = os.pipe()
    shown, shown_write = os.pipe()

    def prompt() -> None:
        with theirs:
            seen = b""
            while not seen.endswith(b"\x04"):
                seen += theirs.recv(100)
            theirs.sendall(seen.upper())

    other = threading.Thread(target=prompt)
    other.start()
    os.write(typed, b"a\n")
    os.close(typed)
    with ours:
        relay(ours, typed_read, shown_write)
    other.join(10)
    assert os.read(shown, 100) == b"A\r\x04"
    for one in (typed_read, shown, shown_write):
        os.close(one)


def test_when_it_is_off(tmp_path: Path) -> None:
    """It is said which key turns it on."""
    done = CliRunner().invoke(main, ["manhole", "--data-dir", str(tmp_path)])
    assert done.exit_code == 1
    assert "manhole: {mode: unix}" in done.output
