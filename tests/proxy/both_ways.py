"""The same steps on the short way and the general one, and all that is seen."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, field

from haloy.model.app import Address, Domain, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy.access_log import AccessRecord, record_of
from haloy.proxy.downstream import Downstream
from haloy.proxy.fast_path import FastPaths, Http1FastRequest
from haloy.proxy.routes import RoutedApp, Upstream, build_table
from haloy.proxy.switch import Switch
from haloy.proxy.timer_wheel import TimerWheel
from tests.proxy.turns import Turns

FIELDS = b"Host: app.example.com\r\nUser-Agent: me\r\nCookie: a=b\r\n"
GET = b"GET /a?b=c HTTP/1.1\r\n" + FIELDS + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello"


def everything(peer: socket.socket) -> bytes:
    """Return what is there; the end and a reset as words."""
    got = b""
    while True:
        try:
            data = peer.recv(65536)
        except BlockingIOError:
            return got
        except OSError:
            return got + b"<reset>"
        if not data:
            return got + b"<end>"
        got += data


@define(eq=False)
class Stage:
    """Clients one after the other, replicas, and all that can be seen of them."""

    listening: list[socket.socket]
    turns: Turns
    switch: Switch
    records: list[AccessRecord]
    client: socket.socket = field(init=False)
    downstream: Downstream = field(init=False)
    apps: list[socket.socket] = field(factory=list)
    seen: list[object] = field(factory=list)
    by_lane: int = 0

    def connect(self) -> None:
        """Let a client come; the one before has left."""
        self.client, ours = socket.socketpair()
        self.client.setblocking(False)
        ours.setblocking(False)
        assert self.switch.admits(ours, "192.0.2.1")
        self.downstream = Downstream(self.switch, ours, "192.0.2.1", secure=False)
        self.switch.clients.add(self.downstream)
        self.downstream.start()

    def look(self) -> None:
        """Let everything happen and note what can be seen of it."""
        self.turns.now_s += 0.01
        self.turns.go()
        for one in self.listening:
            while select.select([one], [], [], 0)[0]:
                app, _ = one.accept()
                app.setblocking(False)
                app.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.apps.append(app)
                self.turns.go()
        self.by_lane += isinstance(self.downstream.driver, Http1FastRequest)
        pools = self.switch.pools.values()
        self.seen.append(
            (
                [everything(app) for app in self.apps],
                everything(self.client),
                [(pool.outstanding, len(pool.idle)) for pool in pools],
                self.switch.requests_total,
                (self.downstream.state, self.downstream.gone, self.downstream.due_s),
                list(self.records),
            )
        )

    def sent(self, data: bytes) -> None:
        """Send what a client sends; if its connection is over, the next one's."""
        if self.downstream.gone:
            self.client.close()
            self.connect()
        with suppress(OSError):
            self.client.sendall(data)
        self.look()

    def answer(self, *pieces: bytes) -> None:
        """Let the apps that were asked answer: C{b""} is an end, C{b"!"} a reset."""
        asked = [app for app, got in zip(self.apps, self._got(), strict=False) if got]
        for piece in pieces:
            for app in asked:
                try:
                    if piece == b"!":
                        app.setsockopt(
                            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
                        )
                    if piece in (b"", b"!"):
                        app.close()
                        self.apps.remove(app)
                    else:
                        app.sendall(piece)
                except (OSError, ValueError):
                    continue
            self.look()

    def _got(self) -> list[bytes]:
        seen = self.seen[-1]
        assert isinstance(seen, tuple)
        return list(seen[0])


@contextmanager
def stage(
    *, fast_paths: bool, replicas: int = 1, options: ProxyOptions | None = None
) -> Iterator[Stage]:
    """Set one up; C{fast_paths}: with the short way."""
    listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(replicas)]
    turns = Turns()
    records: list[AccessRecord] = []
    switch = Switch(
        turns,
        TimerWheel(turns.clock),
        networks=(),
        sink=lambda visit: records.append(record_of(visit)),
        id_prefix="0123456789ab",
        server_name=lambda tls: None,
        take_over=lambda connection: None,
    )
    if not fast_paths:
        switch.plain_fast_paths = FastPaths(0)
    switch.redirects = False
    upstreams = tuple(
        Upstream(f"c{n}", Address("127.0.0.1", one.getsockname()[1]))
        for n, one in enumerate(listening)
    )
    app = RoutedApp(
        AppName("app"),
        (Domain(DomainName("app.example.com")),),
        upstreams,
        options or ProxyOptions(),
    )
    switch.replace_table(build_table(1, None, [app])[0])
    made = Stage(listening, turns, switch, records)
    made.connect()
    try:
        yield made
    finally:
        made.downstream.drop()
        for pool in switch.pools.values():
            pool.close_idle()
        for one in (*listening, *made.apps, made.client):
            one.close()


def both(
    steps: list[tuple[bytes, int, list[bytes]]],
    replicas: int = 1,
    options: ProxyOptions | None = None,
) -> int:
    """Play C{steps} both ways and compare; return how often the short way was taken."""
    seen = []
    by_lane = 0
    for fast_paths in (False, True):
        with stage(fast_paths=fast_paths, replicas=replicas, options=options) as one:
            for request, cut, answers in steps:
                if cut:
                    one.sent(request[:cut])
                one.sent(request[cut:])
                one.answer(*answers)
            one.downstream.drop()
            one.turns.go()
            seen.append((one.seen, one.records, one.switch.requests_total))
            by_lane = one.by_lane
            assert not any(pool.outstanding for pool in one.switch.pools.values())
    # Ports differ from run to run and are seen by nobody here.
    assert seen[0] == seen[1]
    return by_lane
