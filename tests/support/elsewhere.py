"""A host of its own, as far as TCP can tell, that can vanish without a word."""

from __future__ import annotations

import ctypes
import os
import random
import secrets
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from attrs import define, field

_libc = ctypes.CDLL(None, use_errno=True)


@define(eq=False)
class OtherHost:
    """A network namespace at the other end of a cable.

    @ivar address: where it is.
    @ivar here: our end of the cable, which it reaches.
    """

    address: str
    here: str
    _space: str
    _inside: ThreadPoolExecutor = field(init=False)

    def __attrs_post_init__(self) -> None:
        # A thread is in one namespace, and so is every socket that it makes.
        self._inside = ThreadPoolExecutor(1, initializer=self._enter)

    def _enter(self) -> None:
        with open(f"/run/netns/{self._space}", "rb") as space:
            if _libc.setns(space.fileno(), 0):
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def dial(self, port: int) -> socket.socket:
        """Return a connection from there to C{port} here."""
        place = (self.here, port)
        return self._inside.submit(socket.create_connection, place, 5).result()

    def listen(self) -> socket.socket:
        """Return a socket that listens there."""
        return self._inside.submit(socket.create_server, (self.address, 0)).result()

    def vanish(self) -> None:
        """Lose every packet from now on, both ways, as if the power had failed."""
        for chain in ("INPUT", "OUTPUT"):
            _run("ip", "netns", "exec", self._space, "iptables", "-P", chain, "DROP")

    def close(self) -> None:
        self._inside.shutdown()


@contextmanager
def other_host() -> Iterator[OtherHost]:
    """Make one for the block's time."""
    name = f"haloyt{secrets.token_hex(4)}"
    # Addresses that are for measurements between networks (RFC 2544).
    first = f"198.18.{random.randrange(256)}.{4 * random.randrange(64)}"
    base, _, last = first.rpartition(".")
    here, there = (f"{base}.{int(last) + number}" for number in (1, 2))
    ours, theirs = f"{name}a", f"{name}b"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", ours, "type", "veth", "peer", theirs, "netns", name)
        _run("ip", "address", "add", f"{here}/30", "dev", ours)
        _run("ip", "link", "set", ours, "up")
        _run("ip", "-n", name, "address", "add", f"{there}/30", "dev", theirs)
        _run("ip", "-n", name, "link", "set", theirs, "up")
        host = OtherHost(there, here, name)
        try:
            yield host
        finally:
            host.close()
    finally:
        _run("ip", "netns", "del", name)  # and the cable with it


def _run(*command: str) -> None:
    subprocess.run(command, check=True)
