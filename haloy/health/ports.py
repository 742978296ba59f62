"""The ports a container really listens on, read from its network namespace.

C{/proc/PID/net/tcp} shows the sockets of the namespace of PID, which is the
container's own (unless it uses the host's). Needs no right beyond reading /proc.
"""

from __future__ import annotations

from pathlib import Path

_LISTEN = "0A"
_LOOPBACK = ("0100007F", "00000000000000000000000001000000")


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
                if address not in _LOOPBACK:
                    ports.add(int(port, 16))
    return frozenset(ports)
