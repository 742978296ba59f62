"""Clients that take their time, in a process of their own.

usage: python -m tests.proxy.slow PORT COUNT

C{on} on the standard input makes COUNT of each kind and C{off} ends them; each is said
back when it is done.
"""

from __future__ import annotations

import select
import socket
import ssl
import sys
from collections.abc import Iterator
from contextlib import suppress

from attrs import define, field

#: How often each of them does a little: not all at once, but one group after the other.
EVERY_S, GROUPS = 0.05, 20
NAME = "app.example.com"
HOST = b"Host: app.example.com\r\n"


def unchecked() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def hello(context: ssl.SSLContext) -> bytes:
    """Return the first half of a handshake's first message."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    with suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    said = outgoing.read()
    return said[: len(said) // 2]


@define(eq=False)
class Slow:
    """So many of each kind: of heads, of bodies, of handshakes, and of readers."""

    port: int
    count: int
    _context: ssl.SSLContext = field(factory=unchecked)
    _talking: list[socket.socket] = field(factory=list)
    _reading: list[socket.socket] = field(factory=list)
    _stalled: list[socket.socket] = field(factory=list)

    def begin(self) -> None:
        handshake = hello(self._context)
        for _ in range(self.count):
            head = b"GET / HTTP/1.1\r\n" + HOST + b"X-Endless: "
            body = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 99999\r\n\r\n"
            large = b"GET /large HTTP/1.1\r\n" + HOST + b"\r\n"
            self._talking += [self._dial(head), self._dial(body)]
            self._reading.append(self._dial(large))
            stalled = socket.create_connection(("127.0.0.1", self.port), 5)
            stalled.sendall(handshake)
            self._stalled.append(stalled)

    def _dial(self, first: bytes) -> socket.socket:
        plain = socket.create_connection(("127.0.0.1", self.port), 5)
        one = self._context.wrap_socket(plain, server_hostname=NAME)
        one.sendall(first)
        one.setblocking(False)
        return one

    def step(self, group: int) -> None:
        """Do a little with each of a group that has not been ended."""
        for one in self._talking[group::GROUPS]:
            with suppress(OSError):
                one.send(b"x")
        for one in self._reading[group::GROUPS]:
            with suppress(OSError):
                one.recv(512)

    def end(self) -> None:
        for group in (self._talking, self._reading, self._stalled):
            while group:
                group.pop().close()


def orders() -> Iterator[str]:
    """Give each line that has come, and nothing after each pause."""
    while True:
        if not select.select([sys.stdin], [], [], EVERY_S / GROUPS)[0]:
            yield ""
        elif line := sys.stdin.readline():
            yield line.strip()
        else:
            return


def main() -> None:
    port, count = sys.argv[1:]
    slow = Slow(int(port), int(count))
    for number, order in enumerate(orders()):
        if order == "on":
            slow.begin()
        elif order == "off":
            slow.end()
        else:
            slow.step(number % GROUPS)
            continue
        print(order, flush=True)


if __name__ == "__main__":
    main()
