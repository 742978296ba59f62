"""haloyd's side of the control connection, message by message."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path

from haloy.model.app import Domain
from haloy.model.certificate import Certificate, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.protocol import (
    PROTOCOL,
    Hello,
    Meaning,
    Message,
    Welcome,
    pack,
    unpack,
)
from haloy.proxy.routes import RoutedApp, RouteTable, build_table
from tests.proxy.support import Backend, make_certificate, upstream_of

#: More than one part of each.
APPS = 45
CERTIFICATES = 40


class Talk:
    """haloyd's side, frame by frame; blocking."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(path))
        self.number = 0

    def send(self, *messages: Message) -> None:
        """Ask, and wait for nothing."""
        for one in messages:
            self.number += 1
            frame = pack(Meaning.QUESTION, self.number, one)
            self.socket.sendall(len(frame).to_bytes(4, "big") + frame)

    def answer(self) -> Message:
        """Return the answer to the newest question."""
        while True:
            size = int.from_bytes(self._exactly(4), "big")
            _, number, message = unpack(self._exactly(size))
            if number == self.number:
                return message

    def _exactly(self, size: int) -> bytes:
        found = self.socket.recv(size, socket.MSG_WAITALL)
        assert len(found) == size
        return found

    def close(self) -> None:
        self.socket.close()


def greeted(path: Path) -> Talk:
    """Return a connection that the supervisor takes for haloyd's."""
    while True:
        talk = Talk(path)
        talk.send(Hello(PROTOCOL, "test"))
        if isinstance(talk.answer(), Welcome):
            return talk
        talk.close()


def many(one: Backend, generation: int, first: int = 0) -> RouteTable:
    """Return a table of many apps, each with its name as domain."""
    names = [f"app{number}.example.com" for number in range(first, first + APPS)]
    apps = [
        RoutedApp(
            AppName(name.partition(".")[0]),
            (Domain(DomainName(name)),),
            (upstream_of(one),),
        )
        for name in names
    ]
    return build_table(generation, None, apps)[0]


def certificates() -> tuple[Certificate, ...]:
    """Return many, all the same but for their names."""
    chain, key = make_certificate("app.example.com")
    now = datetime.now(UTC)
    names = [DomainName(f"app{number}.example.com") for number in range(CERTIFICATES)]
    return tuple(
        Certificate(
            name, frozenset({name}), chain, Secret(key), now, now + timedelta(days=1)
        )
        for name in names
    )
