"""The ports a container really listens on, read from its network namespace.

C{/proc/PID/net/tcp} shows the sockets of the namespace of PID, which is the
container's own (unless it uses the host's). Needs no right beyond reading /proc.
"""

from __future__ import annotations

import re
from pathlib import Path

_LISTEN = "0A"
#: 127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104: words of four bytes, the lowest first.
#: Docker's own name server listens on 127.0.0.11 in every container.
_LOOPBACK = re.compile(r"(0{16}FFFF0000)?[0-9A-F]{6}7F|0{24}01000000")


def listening_ports(pid: int, proc: Path = Path("/proc")) -> frozenset[int]:
    """Return the TCP ports that can be reached from outside the container.

    Empty when the process is gone or its namespace cannot be read.
    """
    if pid <= 0:
        return frozenset()
    ports: set[int] = set()
    for name in ("tcp", "tcp6"):
        try:
            rows = (proc / str(pid) / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if len(fields) > 3 and fields[3] == _LISTEN:
                address, _, port = fields[1].rpartition(":")
                if _LOOPBACK.fullmatch(address) is None:
                    ports.add(int(port, 16))
    return frozenset(ports)
