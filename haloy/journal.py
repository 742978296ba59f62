"""The journal's own protocol: an event's fields stay fields (C{journalctl APP=shop}).

One datagram an event to C{/run/systemd/journal/socket}; what is too large for a
datagram goes in a sealed memory file, as systemd's documentation of the protocol
says. What cannot be sent is written to a stream instead, so that nothing is lost.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Final

from twisted.logger import ILogObserver, LogEvent, LogLevel
from zope.interface import implementer

JOURNAL: Final = "/run/systemd/journal/socket"

_PRIORITIES = {
    LogLevel.debug: 7,
    LogLevel.info: 6,
    LogLevel.warn: 4,
    LogLevel.error: 3,
    LogLevel.critical: 2,
}
_NOT_A_NAME = re.compile(r"[^A-Z0-9_]")
_SEALS: Final = (
    fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
)


def is_journal(stream: str, descriptor: int) -> bool:
    """Return whether C{descriptor} is what C{JOURNAL_STREAM} (C{DEVICE:INODE}) is."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def encode(fields: Mapping[str, str]) -> bytes:
    """Return C{fields} as the journal takes them; values may have several lines."""
    parts = []
    for name, value in fields.items():
        key = _NOT_A_NAME.sub("_", name.upper()).lstrip("_")[:64]
        content = value.encode(errors="replace")
        if not key or key[0].isdecimal():
            continue
        if b"\n" in content:
            size = struct.pack("<Q", len(content))
            parts.append(key.encode() + b"\n" + size + content + b"\n")
        else:
            parts.append(key.encode() + b"=" + content + b"\n")
    return b"".join(parts)


@implementer(ILogObserver)
class JournalObserver:
    """Sends each event to the journal."""

    def __init__(
        self,
        describe: Callable[[LogEvent], tuple[str, Mapping[str, str]]],
        otherwise: ILogObserver,
        path: str = JOURNAL,
        name: str = "haloyd",
    ) -> None:
        """Prepare.

        @param describe: gives an event's text and its fields.
        @param otherwise: gets what the journal does not take.
        @param name: the program's, as the journal shows it.
        """
        self._describe = describe
        self._otherwise = otherwise
        self._path = path
        self._name = name

    def __call__(self, event: LogEvent) -> None:
        """Send one event."""
        text, fields = self._describe(event)
        content = encode(
            {
                "MESSAGE": text,
                "PRIORITY": str(_PRIORITIES.get(event.get("log_level"), 6)),
                "SYSLOG_IDENTIFIER": self._name,
                "LOGGER": str(event.get("log_namespace", "")),
                **fields,
            }
        )
        try:
            self._send(content)
        except OSError:
            self._otherwise(event)

    def _send(self, content: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.connect(self._path)
            try:
                channel.send(content)
            except OSError as problem:
                if problem.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                    raise
                _send_file(channel, content)


def _send_file(channel: socket.socket, content: bytes) -> None:
    file = os.memfd_create("haloyd-log", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with os.fdopen(os.dup(file), "wb") as writing:
            writing.write(content)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, _SEALS)
        socket.send_fds(channel, [b""], [file])
    finally:
        os.close(file)
