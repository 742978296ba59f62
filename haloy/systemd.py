"""What systemd and its services say to each other: readiness, the watchdog.

The protocol is sd_notify(3): datagrams to the socket that C{NOTIFY_SOCKET} names.
Without it nothing is sent, so the same program runs anywhere.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_MICROSECONDS: Final = 1_000_000

#: How often the watchdog is fed in the time that systemd allows.
_FEEDS: Final = 3


@define(eq=False)
class Notifier:
    """Tells systemd how the service is; feeds its watchdog by the reactor.

    A reactor that hangs feeds nothing, and systemd starts the service anew.

    @ivar _address: C{NOTIFY_SOCKET}, C{""} for nobody.
    @ivar watchdog_s: within which time systemd wants to hear of us, 0: never.
    """

    _reactor: Any
    _address: str = ""
    watchdog_s: float = 0.0
    _log: Logger = field(factory=Logger, init=False)
    _feeding: LoopingCall | None = field(default=None, init=False)

    def ready(self, status: str) -> None:
        """Say that everything is of use, also after a reload."""
        self.tell(READY="1", STATUS=status)

    def reloading(self, now_us: int) -> None:
        """Say that the configuration is read anew; C{now_us} is monotonic."""
        self.tell(RELOADING="1", MONOTONIC_USEC=str(now_us))

    def stopping(self) -> None:
        """Say that what runs is brought to its end."""
        self.tell(STOPPING="1", STATUS="ending requests")

    def status(self, text: str) -> None:
        """Show C{text} in C{systemctl status}."""
        self.tell(STATUS=text)

    async def start(self) -> None:
        """Feed the watchdog from now on."""
        if not self.watchdog_s:
            return
        self._feeding = LoopingCall(self.tell, WATCHDOG="1")
        self._feeding.clock = self._reactor
        self._feeding.start(self.watchdog_s / _FEEDS).addErrback(
            lambda failure: self._log.failure("feeding the watchdog failed", failure)
        )

    async def stop(self) -> None:
        """Say that the service stops; feed on, since requests may take a while."""
        self.stopping()

    def close(self) -> None:
        """Feed no more."""
        if self._feeding is not None and self._feeding.running:
            self._feeding.stop()

    def tell(self, **facts: str) -> None:
        """Send C{facts}; what cannot be told is not worth failing for."""
        if not self._address:
            return
        text = "\n".join(f"{key}={value}" for key, value in facts.items())
        # A leading @ is the abstract namespace.
        address = (
            "\0" + self._address[1:] if self._address.startswith("@") else self._address
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.setblocking(False)
                channel.sendto(text.encode(), address)
        except OSError as problem:
            self._log.debug("systemd is not told: {problem}", problem=str(problem))


def notifier(
    reactor: Any, environment: Mapping[str, str], process: int | None = None
) -> Notifier:
    """Return the notifier that C{environment} asks for.

    @param process: who feeds the watchdog; by default this process.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    fed = environment.get("WATCHDOG_USEC", "")
    meant = environment.get("WATCHDOG_PID", "")
    here = str(process or os.getpid())
    watchdog_s = 0.0
    if fed.isdecimal() and meant in ("", here):
        watchdog_s = int(fed) / _MICROSECONDS
    return Notifier(reactor, address, watchdog_s)
