"""Ports for programs that are told where to listen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path

#: Ports from which the kernel takes none for a connection or for who asks for any: one
#: that is free stays so until its program listens, and while it is started again.
FIRST = 10_000
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
#: Not the common source, which hypothesis sets to the same in every process.
_CHANCE = random.SystemRandom()
#: A port is the byte there that one process has locked: tests run beside others, and
#: nobody listens on a port while its program is started.
CLAIMS = Path(tempfile.gettempdir()) / f"haloy-test-ports-{os.getuid()}"
_claims = os.open(CLAIMS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports on which nobody listens, all different, none given before.

    They are this process's as long as it lives.
    """
    last = int(EPHEMERAL.read_text().split()[0])
    found: list[int] = []
    while len(found) < count:
        port = _CHANCE.randrange(FIRST, last)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                fcntl.lockf(_claims, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                found.append(port)
                _given.add(port)
    return found


def free_port() -> int:
    """Return one of L{free_ports}."""
    (port,) = free_ports(1)
    return port
