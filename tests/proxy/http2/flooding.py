"""Clients that do nothing wrong, and too much of it, in a process of their own.

usage: python -m tests.proxy.http2.flooding PORT KIND CONNECTIONS ADDRESSES
       python -m tests.proxy.http2.flooding PORT probe PID [SECONDS [PROTOCOL FD]]

They say that they are ready, begin when a line comes on the standard input, and go on
until that ends. Then it is said how many answers have come, and how many connections
were ended by the proxy. With no C{ADDRESSES} all come from the one that the probe has,
else from so many others. The second form is one that behaves well, and asks now and
then until the proxy, process C{PID}, has worked for a while. It says how often, how
many seconds that was, and the longest wait for an answer. Of each wait that counts for
which the proxy worked, and no more than passed while neither waited for a core. With
C{PROTOCOL}, h2 or http/1.1, it asks an app of its own, which it is itself: it listens
there on the descriptor C{FD}.
"""

from __future__ import annotations

import random
import select
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache

import hpack
from attrs import define, field

from haloy.proxy.http2 import frames
from tests.proxy.apps import SHORT_OK
from tests.proxy.http2.clients import H2Client, tls_peer
from tests.proxy.http2.support import GET, POST, block, frame, number
from tests.proxy.support import Peer, get
from tests.support.waiting import scheduled_s

#: How many requests each connection has under way: all that it may.
STREAMS = 128
#: Different heads, more than anybody remembers.
HEADS = 200
#: How long the probe goes on: the proxy's work, and at most.
PROBED_S, LIMIT_S = 1.0, 60.0
#: Where a probe that is an app as well is reached.
OWN_NAME = "own.example.com"
_FULL = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


@cache
def blocks() -> list[bytes]:
    """Return heads with a kibibyte of fields that nobody has met before."""
    encoder = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES,
        hpack.huffman_constants.REQUEST_CODES_LENGTH,
    )
    chance = random.Random(1)
    made = []
    for _ in range(HEADS):
        fields = b""
        for _ in range(12):
            name = encoder.encode(b"x-%012x" % chance.getrandbits(48))
            value = encoder.encode(b"%0100x" % chance.getrandbits(400))
            fields += b"\x40" + bytes([128 | len(name)]) + name
            fields += bytes([128 | len(value)]) + value
        made.append(block(GET) + fields)
    return made


def unlike() -> Iterator[bytes]:
    """Give them again and again."""
    while True:
        yield from blocks()


def alike(*fields: tuple[str, str]) -> Iterator[bytes]:
    """Give the same block again and again."""
    same = block(fields)
    while True:
        yield same


UPLOADS, SLOW = "uploads that dribble", "slow readers"
CHUNKS = "chunks of one octet by HTTP/1.1"
CANCELLED, PINGS = "requests that are taken back", "pings"
#: What is too much, said with GOAWAY; they come again.
BOLD = {CANCELLED, PINGS}
POST_CHUNKS = (
    b"POST / HTTP/1.1\r\nHost: app.example.com\r\nTransfer-Encoding: chunked\r\n\r\n"
)
#: What is asked for.
KINDS: dict[str, Callable[[], Iterator[bytes]]] = {
    "GETs": lambda: alike(*GET),
    "heads that are all new": unlike,
    "names that nobody has": lambda: alike(*GET[:3], (":authority", "no.example.com")),
    UPLOADS: lambda: alike(*POST),
    SLOW: lambda: alike(*GET[:2], (":path", "/large"), GET[3]),
    CANCELLED: lambda: alike(*GET),
    PINGS: lambda: alike(*GET),
    CHUNKS: lambda: iter(()),
}
#: What a slow reader takes at a time, of each answer.
SIP_BYTES = 1024


@define(eq=False)
class Flooder:
    """One connection."""

    socket: ssl.SSLSocket
    kind: str
    blocks: Iterator[bytes]
    unsent: bytes = b""
    unread: bytes = b""
    next: int = 1
    open: int = 0
    answers: int = 0
    gone: bool = False
    streams: list[int] = field(factory=list)

    def ask(self) -> None:
        """Have as many requests under way as there may be, and send of bodies a bit."""
        if self.kind in BOLD:
            self.unsent += self.too_much()
            return
        if self.kind == CHUNKS:
            self.unsent += b"1\r\nx\r\n" * 10_000
            return
        asked = []
        uploads = self.kind == UPLOADS
        while self.open < STREAMS:
            flags = 4 if uploads else 5
            asked.append(frame(frames.HEADERS, flags, self.next, next(self.blocks)))
            self.streams.append(self.next)
            self.next += 2
            self.open += 1
        if uploads:
            asked += [frame(frames.DATA, 0, one, bytes(70)) for one in self.streams]
        self.unsent += b"".join(asked)

    def too_much(self) -> bytes:
        """Return some of what nobody needs."""
        if self.kind == PINGS:
            return frame(frames.PING, 0, 0, b"12345678") * 500
        asked = b""
        for _ in range(50):
            asked += frame(frames.HEADERS, 5, self.next, next(self.blocks))
            asked += frame(frames.RST_STREAM, 0, self.next, number(frames.CANCEL))
            self.next += 2
        return asked

    def write(self) -> None:
        if not self.unsent:
            self.ask()
        if self.unsent:
            self.unsent = self.unsent[self.socket.send(self.unsent[:65536]) :]

    def read(self) -> None:
        data = self.unread + self.socket.recv(65536)
        position = 0
        while len(data) - position >= 9:
            length, flags, stream = frames.HEADER.unpack_from(data, position)
            end = position + 9 + (length >> 8)
            if end > len(data):
                break
            position = end
            kind = length & 0xFF
            if kind == frames.GOAWAY:
                self.gone = True
            elif flags & 1 and kind in (frames.DATA, frames.HEADERS):
                self.answers += 1
                self.open -= 1
            elif kind == frames.RST_STREAM:
                self.open -= 1
            if self.kind == SLOW and kind == frames.DATA:
                more = number(length >> 8)
                self.unsent += frame(frames.WINDOW_UPDATE, 0, stream, more)
        self.unread = data[position:]

    def step(self) -> None:
        with suppress(*_FULL):
            self.read()
        with suppress(*_FULL):
            self.write()


def dial(port: int, kind: str, source: str) -> Flooder:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1" if kind == CHUNKS else "h2"])
    plain = socket.create_connection(("127.0.0.1", port), 60, (source, 0))
    tls = context.wrap_socket(plain, server_hostname="app.example.com")
    if kind == CHUNKS:
        tls.sendall(POST_CHUNKS)
        tls.setblocking(False)
        return Flooder(tls, kind, KINDS[kind]())
    window = frames.SETTING.pack(
        frames.INITIAL_WINDOW_SIZE, SIP_BYTES if kind == SLOW else frames.DEFAULT_WINDOW
    )
    tls.sendall(frames.PREFACE + frame(frames.SETTINGS, 0, 0, window))
    all_of_it = number(frames.WINDOW_LIMIT - frames.DEFAULT_WINDOW)
    tls.sendall(frames.SETTINGS_ACK + frame(frames.WINDOW_UPDATE, 0, 0, all_of_it))
    tls.setblocking(False)
    return Flooder(tls, kind, KINDS[kind]())


class OtherPage:
    """Ask for a page of the proxy's own."""

    def __init__(self, port: int) -> None:
        self._client = H2Client(port)
        self._client.peer.socket.settimeout(LIMIT_S)
        self._client.name = "other.example.com"

    def __call__(self) -> None:
        assert self._client.get().status != 200


class OwnApp:
    """Ask an app that is in this thread: nobody else has to run for it."""

    def __init__(self, port: int, protocol: str, fd: int) -> None:
        self._listening = socket.socket(fileno=fd)
        self._peers: dict[socket.socket, Peer] = {}
        self._client: H2Client | Peer
        if protocol == "h2":
            self._client = H2Client(port, OWN_NAME)
            self._client.peer.socket.settimeout(LIMIT_S)
        else:
            self._client = tls_peer(port, OWN_NAME, (protocol,))
            self._client.socket.settimeout(LIMIT_S)

    def __call__(self) -> None:
        client = self._client
        if isinstance(client, H2Client):
            stream = client.ask()
            self._serve()
            status = client.answer(stream).status
        else:
            client.send(get(OWN_NAME))
            self._serve()
            status = client.response()[0]
        assert status == 200

    def _serve(self) -> None:
        """Answer one request."""
        while True:
            some = [self._listening, *self._peers]
            for one in select.select(some, [], [], LIMIT_S)[0]:
                if one is self._listening:
                    connection = one.accept()[0]
                    self._peers[connection] = Peer(connection)
                elif self._peers[one].head():
                    self._peers[one].send(SHORT_OK)
                    return
                else:
                    del self._peers[one]


def probe(pid: int, ask: Callable[[], None], limit_s: float = LIMIT_S) -> None:
    """Ask again and again, as people do.

    Until the proxy has worked for C{PROBED_S} meanwhile, for C{limit_s} at most.
    """
    ask()
    print("ready", flush=True)
    sys.stdin.readline()
    waits_s = []
    began_s = scheduled_s(pid)[0]
    until_s = time.monotonic() + limit_s
    while scheduled_s(pid)[0] < began_s + PROBED_S and time.monotonic() < until_s:
        select.select([], [], [], 0.01)
        before, own, at_s = scheduled_s(pid), scheduled_s("self"), time.monotonic()
        ask()
        waited_s = time.monotonic() - at_s
        after = scheduled_s(pid)
        # For a core, both of them.
        waited_s -= after[1] - before[1] + scheduled_s("self")[1] - own[1]
        waits_s.append(min(after[0] - before[0], waited_s))
    print(len(waits_s), scheduled_s(pid)[0] - began_s, max(waits_s), flush=True)


def main() -> None:
    port, kind, count, *rest = sys.argv[1:]
    if kind == "probe":
        limit_s = float(rest[0]) if rest else LIMIT_S
        own = OwnApp(int(port), rest[1], int(rest[2])) if len(rest) > 1 else None
        probe(int(count), own or OtherPage(int(port)), limit_s)
        return
    addresses = int(rest[0])

    def source(n: int) -> str:
        return f"127.0.0.{2 + n % addresses}" if addresses else "127.0.0.1"

    sources = [source(n) for n in range(int(count))]
    flooders = [dial(int(port), kind, one) for one in sources]
    print("ready", flush=True)
    sys.stdin.readline()
    flood(int(port), flooders, sources)


def flood(port: int, flooders: list[Flooder], sources: list[str]) -> None:
    """Go on until the standard input ends."""
    answers = ended = 0
    left = dict(enumerate(flooders))
    while not select.select([sys.stdin], [], [], 0)[0]:
        for n, one in tuple(left.items()):
            try:
                one.step()
            except OSError:
                one.gone = True
            if one.gone:
                ended += 1
                answers += one.answers
                del left[n]
                one.socket.close()
                if one.kind in BOLD:
                    left[n] = dial(port, one.kind, sources[n])
    answers += sum(one.answers for one in left.values())
    print(answers, ended, flush=True)


if __name__ == "__main__":
    main()
