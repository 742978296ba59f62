"""What C{health.ports} reads."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from haloy.health.ports import listening_ports

ROW = "   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000\n"


def write(folder: Path, name: str, *rows: str) -> None:
    path = folder / "7" / "net" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("header\n" + "".join(rows) + "short\n")


def test_listening_sockets_of_both_families(tmp_path: Path) -> None:
    """Loopback cannot be reached from outside, connections are not listeners."""
    write(
        tmp_path,
        "tcp",
        ROW.format(address="00000000", port=3000, state="0A"),
        ROW.format(address="0100007F", port=9999, state="0A"),
        ROW.format(address="0B00007F", port=9998, state="0A"),
        ROW.format(address="00000000", port=5000, state="01"),
    )
    write(
        tmp_path,
        "tcp6",
        ROW.format(address="0" * 32, port=8080, state="0A"),
        ROW.format(address="0" * 24 + "01000000", port=9997, state="0A"),
        ROW.format(address="0" * 16 + "FFFF00000100007F", port=9996, state="0A"),
    )
    assert listening_ports(7, tmp_path) == {3000, 8080}


def test_unknown_process_has_none(tmp_path: Path) -> None:
    """A process that is gone, or none at all."""
    assert listening_ports(7, tmp_path) == frozenset()
    assert listening_ports(0) == frozenset()


def test_our_own_sockets() -> None:
    """The real /proc says the same."""
    with socket.socket() as one:
        one.bind(("0.0.0.0", 0))
        one.listen()
        assert one.getsockname()[1] in listening_ports(os.getpid())
