"""How the process of a worker begins: its program, its descriptors, its environment."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from haloy.proxy.shares import VARIABLE, Shares
from haloy.proxy.split.sockets import Sockets, without_sockets
from haloy.turns import as_usual


class _Watch(ProcessProtocol):
    """Learns of the end of one worker."""

    def __init__(self, ended: Callable[[Failure], None]) -> None:
        self._ended = ended

    def processExited(self, reason: Failure) -> None:  # noqa: N802 - Twisted's
        """Pass it on."""
        self._ended(reason)


def spawn_worker(
    reactor: Any,
    worker_reactor: str,
    control: socket.socket,
    sockets: Sockets,
    shares: Shares,
    place: int,
    ended: Callable[[Failure], None],
) -> Any:
    """Start L{haloy.proxy.launch}; return Twisted's process transport.

    C{control} is its end of the connection to us, C{place} its number in C{shares}.
    That goes by the environment: a program of another release, which an upgrade may
    find in its place, does not miss it.

    @raise OSError: no process can be had.
    """
    given = [control.fileno(), *(one.fileno() for one in sockets.all), shares.fileno()]
    places = {number: 3 + index for index, number in enumerate(given)}
    with open(os.devnull, "rb") as nothing, as_usual():
        return reactor.spawnProcess(
            _Watch(ended),
            sys.executable,
            [
                *(sys.executable, "-P", "-m", "haloy.proxy.launch"),
                worker_reactor,
                str(places[control.fileno()]),
                _listed(places, sockets.http),
                _listed(places, sockets.https),
            ],
            env={
                **without_sockets(os.environ),
                VARIABLE: f"{places[shares.fileno()]}:{place}",
            },
            childFDs={
                0: nothing.fileno(),
                1: 1,
                2: 2,
                **{place: number for number, place in places.items()},
            },
        )


def _listed(places: dict[int, int], sockets: Sequence[socket.socket]) -> str:
    return ",".join(str(places[one.fileno()]) for one in sockets)
