"""Listening sockets of a supervisor: opened, or taken over from systemd.

sd_listen_fds(3): descriptors from 3 on, as many as C{LISTEN_FDS} says, for the
process that C{LISTEN_PID} names.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import frozen

from haloy.errors import ConfigError, HaloyError
from haloy.proxy.listener import open_sockets, parse_listen

FIRST_DESCRIPTOR: Final = 3
_VARIABLES: Final = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


@frozen
class Sockets:
    """Bound sockets, plain and for TLS."""

    http: tuple[socket.socket, ...] = ()
    https: tuple[socket.socket, ...] = ()

    @property
    def all(self) -> tuple[socket.socket, ...]:
        """Both kinds."""
        return self.http + self.https

    def close(self) -> None:
        """Close them."""
        for one in self.all:
            one.close()


def first_environment() -> dict[str, str]:
    """Return the environment that this process was started with.

    Twisted's endpoints take what systemd says of sockets out of C{os.environ} when
    they are imported, which is before anybody else can look.
    """
    content = Path("/proc/self/environ").read_bytes()
    found = (part.partition("=") for part in os.fsdecode(content).split("\0"))
    return {name: value for name, _, value in found if name}


def without_sockets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return C{environment} for a child, which is not told of our descriptors."""
    return {
        name: value for name, value in environment.items() if name not in _VARIABLES
    }


def inherited(environment: Mapping[str, str], pid: int) -> list[int]:
    """Return the descriptors that systemd gave us."""
    told = {name: environment.get(name, "") for name in _VARIABLES}
    count = told["LISTEN_FDS"]
    if told["LISTEN_PID"] != str(pid) or not count.isdecimal():
        return []
    return list(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)))


def adopt(descriptors: list[int], http: str, https: str) -> Sockets:
    """Return the sockets behind C{descriptors}, told apart by their ports.

    @raise ConfigError: one is bound to neither port.
    """
    ports = {"http": _port(http), "https": _port(https)}
    found: dict[str, list[socket.socket]] = {"http": [], "https": []}
    taken: list[socket.socket] = []
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        try:
            one = socket.socket(fileno=descriptor)
        except OSError as problem:
            raise ConfigError(
                f"descriptor {descriptor}, said to be from systemd, is not a socket"
            ) from problem
        taken.append(one)
        port = one.getsockname()[1] if one.family != socket.AF_UNIX else None
        kinds = [kind for kind, wanted in ports.items() if wanted == port]
        if not kinds:
            for each in taken:
                each.close()
            raise ConfigError(
                f"systemd gave us a socket on port {port}, which is neither "
                f"that of --http {http} nor that of --https {https}"
            )
        found[kinds[0]].append(one)
    for one in taken:
        one.setblocking(False)
    return Sockets(tuple(found["http"]), tuple(found["https"]))


def listening(http: str, https: str, descriptors: list[int]) -> Sockets:
    """Return what to accept from: systemd's sockets, or else our own.

    @raise ConfigError: an address cannot be bound, or systemd's do not fit.
    """
    if descriptors:
        return adopt(descriptors, http, https)
    secure: list[socket.socket] = []
    try:
        secure = open_sockets(https)
        return Sockets(tuple(open_sockets(http)), tuple(secure))
    except (OSError, HaloyError) as problem:
        for one in secure:
            one.close()
        raise ConfigError(
            f"cannot listen on {http or 'nothing'} and {https or 'nothing'}: {problem}"
        ) from problem


def _port(listen: str) -> int | None:
    return parse_listen(listen)[1] if listen else None
