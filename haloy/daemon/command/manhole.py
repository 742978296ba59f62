"""C{haloyd manhole}: this terminal becomes the prompt inside the daemon."""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import tty

import click

from haloy.daemon.command.options import as_owner
from haloy.daemon.paths import Directories
from haloy.errors import HaloyError


@click.command()
@as_owner
def manhole(chosen: Directories) -> None:
    """Open the Python prompt inside the daemon; Ctrl+D ends it.

    It needs `manhole: {mode: unix}` in haloyd.yaml.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as prompt:
        try:
            prompt.connect(str(chosen.manhole_socket))
        except OSError as problem:
            raise HaloyError(
                f"{chosen.manhole_socket}: {problem.strerror}; is haloyd running, "
                "with `manhole: {mode: unix}` in haloyd.yaml?"
            ) from problem
        if not sys.stdin.isatty():
            relay(prompt, sys.stdin.fileno(), sys.stdout.fileno())
            return
        before = termios.tcgetattr(sys.stdin)
        try:
            tty.setraw(sys.stdin)
            relay(prompt, sys.stdin.fileno(), sys.stdout.fileno())
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
            click.echo()


def relay(prompt: socket.socket, source: int, target: int) -> None:
    """Pass what is typed and what is answered, until the prompt ends.

    The end of C{source} is ^D, as a terminal has it.
    """
    reading = [prompt.fileno(), source]
    while True:
        ready, _, _ = select.select(reading, [], [])
        if source in ready:
            typed = os.read(source, 4096)
            if not typed:
                reading.remove(source)
                typed = b"\x04"
            prompt.sendall(typed.replace(b"\n", b"\r"))
        if prompt.fileno() in ready:
            shown = prompt.recv(65536)
            if not shown:
                return
            os.write(target, shown)
