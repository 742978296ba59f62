"""Apps that speak HTTP/1.1 and do not behave: what others feel of them."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from haloy.model.app import Address, Domain, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table
from tests.proxy.conftest import SplitStarter
from tests.proxy.http2.flooding import OWN_NAME
from tests.proxy.http2.test_crowds import LATENCY_S, begin, end, program
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Backend, Peer, backend, in_thread, upstream_of
from tests.support.waiting import slowness

pytestmark = pytest.mark.slow

#: Many end soon after they have begun: then there is little to do for the proxy.
PROBED_S = 5
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
_chance = random.Random(1)


def hints() -> bytes:
    """Return as many early hints as there may be, of fields that nobody has met."""
    said = b""
    for _ in range(32):
        lines = [b"x-%x: %x" % (_chance.getrandbits(48), n) for n in range(99)]
        said += b"\r\n".join([b"HTTP/1.1 103 Early Hints", *lines, b"", b""])
    return said


def again(piece: bytes) -> tuple[bytes, bytes]:
    return CHUNKED, piece * (65536 // len(piece))


#: What it says to a request, and what it says then without end. Where that is nothing,
#: it was a whole answer.
FLOODS: dict[str, tuple[bytes, bytes]] = {
    "chunks of one octet": again(b"1\r\nx\r\n"),
    "chunks with extensions": again(b"1;a\r\nx\r\n"),
    "chunks with long extensions": again(b"1" + b";a" * 2000 + b"\r\nx\r\n"),
    "answers of small chunks": (CHUNKED + b"1\r\nx\r\n" * 20000 + b"0\r\n\r\n", b""),
    "trailers": (CHUNKED + b"0\r\n" + b"a\r\n" * 16000 + b"\r\n", b""),
    "early hints": (hints() + CHUNKED + b"0\r\n\r\n", b""),
}


class Bad:
    """An app that says something to a request, and goes on."""

    def __init__(self, kind: str) -> None:
        self._once, self._more = FLOODS[kind]

    def __call__(self, peer: Peer) -> None:
        peer.socket.settimeout(60)
        while peer.head():
            peer.send(self._once)
            while self._more:
                peer.send(self._more)


def octets(peer: Peer) -> None:
    """Send each octet by itself, of a head and of a body."""
    peer.socket.settimeout(60)
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while peer.head():
        for octet in CHUNKED + b"1\r\nx\r\n" * 50 + b"0\r\n\r\n":
            peer.send(bytes([octet]))


SCRIPTS: dict[str, Callable[[Peer], None]] = {kind: Bad(kind) for kind in FLOODS}
SCRIPTS["octets, each by itself"] = octets


def table(bad: Backend, listening: socket.socket) -> RouteTable:
    """Return one with two apps."""
    own = Upstream("own", Address(*listening.getsockname()[:2]))
    made, conflicts = build_table(
        1,
        None,
        [
            RoutedApp(
                AppName(name),
                (Domain(DomainName(domain)),),
                (upstream,),
                ProxyOptions(),
            )
            for name, domain, upstream in (
                ("app", "app.example.com", upstream_of(bad)),
                ("own", OWN_NAME, own),
            )
        ],
    )
    assert not conflicts
    return made


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
@pytest.mark.parametrize("kind", SCRIPTS)
async def test_nobody_else_waits_for_what_an_app_says(
    start_split: SplitStarter,
    kind: str,
    protocol: str,
    unmeasured: None,
    untraced: None,
) -> None:
    """Who asks another app, by whichever protocol, is answered meanwhile.

    It floods on as many connections as there are requests.
    """
    split = await start_split(workers=1, plain=False)
    (pid,) = split.supervisor.pids
    listening = socket.create_server(("127.0.0.1", 0))

    def measure() -> tuple[list[float], list[float]]:
        with ExitStack() as stack:
            enter = stack.enter_context
            asking = enter(program(split, "GETs", 4, 1))
            fd = listening.fileno()
            numbers = (pid, PROBED_S, protocol, fd)
            other = enter(program(split, "probe", *numbers, fds=[fd]))
            begin(asking)
            begin(other)
            return end(other), end(asking)

    with backend(SCRIPTS[kind]) as bad, listening:
        await split.proxy.replace_certificates((certificate(), certificate(OWN_NAME)))
        await split.proxy.replace_table(table(bad, listening))
        (asked, busy_s, waited_s), (answers, _) = await in_thread(measure)
    print(
        f"{kind}: {answers:.0f} answers, {busy_s:.1f} s of work; of {asked:.0f} others "
        f"by {protocol} one waited longest, for {waited_s * 1000:.0f} ms of it"
    )
    assert waited_s < LATENCY_S * slowness()
