"""Apps that speak HTTP/2 and do not behave: what others feel of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from haloy.model.app import Protocol, ProxyOptions
from haloy.proxy.http2 import frames
from tests.proxy.conftest import SplitStarter
from tests.proxy.http2.support import block, frame, number
from tests.proxy.http2.test_crowds import LATENCY_S, begin, end, program
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Peer, backend, in_thread, table_of
from tests.proxy.test_split_load import pss_kib
from tests.support.waiting import slowness

pytestmark = pytest.mark.slow

H2C = ProxyOptions(protocol=Protocol.H2C)
GROWTH_KIB = 64 * 1024
#: Many floods end soon after they have begun: then there is little to do for the proxy.
PROBED_S = 5
_ENTRY = b"\x40\x01a\x7f\x80\x1e" + b"a" * 3967


def answer(stream: int) -> bytes:
    return frame(frames.HEADERS, 4, stream, block(((":status", "200"),)))


def again(piece: bytes) -> tuple[bytes, bytes]:
    return b"", piece


#: What it says to a request, and what it says then without end.
FLOODS: dict[str, Callable[[int], tuple[bytes, bytes]]] = {
    "PING": lambda _: again(frame(frames.PING, 0, 0, b"12345678")),
    "windows that move": lambda _: again(
        frame(frames.SETTINGS, 0, 0, frames.SETTING.pack(4, 0))
        + frame(frames.SETTINGS, 0, 0, frames.SETTING.pack(4, 65535))
    ),
    "refused": lambda n: again(frame(frames.RST_STREAM, 0, n, number(7))),
    "long CONTINUATION": lambda n: (
        frame(frames.HEADERS, 0, n, block(((":status", "200"),))),
        frame(frames.CONTINUATION, 0, n, b"\x0f\x11\0" * 5000),
    ),
    "GOAWAY": lambda _: again(
        frame(frames.GOAWAY, 0, 0, number(frames.LAST_STREAM) + number(0))
    ),
    "early hints": lambda n: again(
        frame(frames.HEADERS, 4, n, block(((":status", "103"),)))
    ),
    "HPACK bombs": lambda n: (
        b"",
        frame(frames.HEADERS, 4, n, block(((":status", "103"),)) + _ENTRY)
        + frame(frames.HEADERS, 4, n, block(((":status", "103"),)) + b"\xbe" * 12000),
    ),
    "DATA of one octet": lambda n: (answer(n), frame(frames.DATA, 0, n, b"x")),
    "DATA without end": lambda n: (answer(n), frame(frames.DATA, 0, n, bytes(16384))),
}


class Bad:
    """An app that floods as soon as it was asked, on a connection for each request."""

    def __init__(self, kind: str) -> None:
        self._says = FLOODS[kind]
        self._limit = frames.SETTING.pack(frames.MAX_CONCURRENT_STREAMS, 1)

    def __call__(self, peer: Peer) -> None:
        peer.socket.settimeout(60)
        peer.send(frame(frames.SETTINGS, 0, 0, self._limit))
        peer.exactly(24)
        kind = stream = 0
        while kind != frames.HEADERS:
            start = peer.exactly(9)
            if len(start) < 9:
                return
            length, _, stream = frames.HEADER.unpack(start)
            kind = length & 0xFF
            peer.exactly(length >> 8)
        once, more = self._says(stream)
        peer.send(once)
        more *= max(1, 65536 // len(more))
        while True:
            peer.send(more)


@pytest.mark.parametrize("kind", FLOODS)
async def test_nobody_else_feels_what_an_app_says(
    start_split: SplitStarter,
    kind: str,
    unmeasured: None,
    untraced: None,
) -> None:
    """Neither waits nor memory, however much it is asked again.

    It floods on as many connections as it makes us have.
    """
    split = await start_split(workers=1, plain=False)
    (pid,) = split.supervisor.pids

    def measure() -> tuple[list[float], list[float], float]:
        with (
            program(split, "GETs", 4, 1) as asking,
            program(split, "probe", pid, PROBED_S) as other,
        ):
            before = pss_kib(pid)
            begin(asking)
            begin(other)
            return end(other), end(asking), pss_kib(pid) - before

    with backend(Bad(kind)) as one:
        await split.proxy.replace_certificates((certificate(),))
        await split.proxy.replace_table(table_of(one, options=H2C))
        (asked, busy_s, waited_s), (answers, _), grown_kib = await in_thread(measure)
    print(
        f"{kind}: {answers:.0f} answers, {busy_s:.1f} s "
        f"of work, {grown_kib / 1024:.0f} MiB more; of {asked:.0f} others one waited "
        f"longest, for {waited_s * 1000:.0f} ms of it"
    )
    assert waited_s < LATENCY_S * slowness()
    assert grown_kib < GROWTH_KIB
