"""Clients that do nothing wrong, and too much of it: what others feel of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from haloy.model.app import Protocol, ProxyOptions
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.http2 import flooding
from tests.proxy.http2.test_shedding import App
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Backend, Peer, backend, in_thread, table_of
from tests.proxy.test_split_load import giving
from tests.support.waiting import slowness

pytestmark = pytest.mark.slow

#: What the longest wait of a well-behaved client may be.
LATENCY_S = 0.25
CONNECTIONS = 40


@contextmanager
def program(
    split: Split, kind: str, *rest: int | str, fds: Sequence[int] = ()
) -> Iterator[subprocess.Popen[str]]:
    """Run them in a process of their own, until it is ready; C{fds} are for it."""
    said = [str(one) for one in rest]
    with subprocess.Popen(
        (sys.executable, "-m", flooding.__name__, str(split.https), kind, *said),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=fds,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.stdin is not None and not process.stdin.closed:
            process.stdin.close()


def begin(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def end(process: subprocess.Popen[str]) -> list[float]:
    """Return the numbers that it says at the end."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    return [float(one) for one in process.stdout.readline().split()]


#: How many, of one address, as many as it may have, and of several.
ONE, SEVERAL = (1024, 1), (200, 8)
HEADS, UPLOADS, SLOW = "heads that are all new", flooding.UPLOADS, flooding.SLOW
#: With many connections each, too.
OF_HTTP2 = [kind for kind in flooding.KINDS if kind != flooding.CHUNKS]
CROWDS = [(kind, (CONNECTIONS, 0)) for kind in OF_HTTP2] + [
    *((kind, ONE) for kind in ("GETs", UPLOADS, SLOW)),
    *((kind, SEVERAL) for kind in (HEADS, UPLOADS, SLOW)),
]
H2C = ProxyOptions(protocol=Protocol.H2C)


async def measured(
    split: Split, app: Backend, kind: str, options: ProxyOptions, *crowd: int
) -> None:
    """Hold the longest wait of somebody else to the promise."""
    (pid,) = split.supervisor.pids

    def measure() -> tuple[list[float], list[float]]:
        with ExitStack() as stack:
            flood = stack.enter_context(program(split, kind, *crowd))
            asking = stack.enter_context(program(split, "probe", pid))
            begin(flood)
            begin(asking)
            return end(asking), end(flood)

    await split.proxy.replace_certificates((certificate(),))
    await split.proxy.replace_table(table_of(app, options=options))
    (asked, busy_s, waited_s), (answers, ended) = await in_thread(measure)
    print(
        f"{kind}: {answers:.0f} answers, {ended:.0f} ended in {busy_s:.1f} s of work; "
        f"of {asked:.0f} others one waited longest, for {waited_s * 1000:.0f} ms of it"
    )
    # They do flood it.
    assert busy_s >= flooding.PROBED_S
    assert waited_s < LATENCY_S * slowness()


@pytest.mark.parametrize(("kind", "crowd"), CROWDS)
async def test_nobody_else_waits(
    start_split: SplitStarter,
    kind: str,
    crowd: tuple[int, int],
    unmeasured: None,
    untraced: None,
) -> None:
    """A quarter of a second at most, on another connection, even of the same address.

    Each of theirs has as many requests under way as there may be. What counts is what
    the proxy works while the other one waits, however little of a core it gets.
    """
    split = await start_split(workers=1, plain=False)
    with backend(giving) as one:
        await measured(split, one, kind, ProxyOptions(), *crowd)


@pytest.mark.parametrize("kind", ["GETs", HEADS, UPLOADS, SLOW, flooding.CANCELLED])
async def test_nobody_else_waits_for_calls_of_an_app(
    start_split: SplitStarter, kind: str, unmeasured: None, untraced: None
) -> None:
    """As above, where the app speaks HTTP/2."""
    split = await start_split(workers=1, plain=False)
    with backend(App(b"/small", b"/")) as one:
        await measured(split, one, kind, H2C, CONNECTIONS, 0)


def taking(peer: Peer) -> None:
    """Take a body without end, and never answer."""
    peer.socket.settimeout(120)
    while peer.recv(1048576):
        pass


@pytest.mark.parametrize("crowd", [(CONNECTIONS, 0), (400, 1)])
async def test_nobody_else_waits_for_chunks(
    start_split: SplitStarter,
    crowd: tuple[int, int],
    unmeasured: None,
    untraced: None,
) -> None:
    """As above, of uploads by HTTP/1.1 that an app takes."""
    split = await start_split(workers=1, plain=False)
    with backend(taking) as one:
        await measured(split, one, flooding.CHUNKS, ProxyOptions(), *crowd)
