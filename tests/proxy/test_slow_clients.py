"""Others beside clients that take their time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.integration.site import cpu_s
from tests.proxy.conftest import Split, SplitStarter
from tests.proxy.slow import Slow
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Peer, backend, connect_tls, get, in_thread, table_of
from tests.proxy.test_split_load import giving
from tests.support.waiting import slowness

pytestmark = pytest.mark.slow

ROUNDS = 9
#: Clients that ask at the same time, and how often.
CLIENTS, TIMES = 8, 50
#: What is twice as long as less than this is still short: one turn more of a worker
#: that has 2,400 pieces a second to read.
SHORT_MS = 2.0
#: Of each kind, of which there are four.
SLOW = 40


@contextmanager
def slow_clients(split: Split) -> Iterator[subprocess.Popen[str]]:
    """Have them at hand, in a process of their own: they cost the measuring nothing."""
    module = Slow.__module__
    with subprocess.Popen(
        (sys.executable, "-m", module, str(split.https), str(SLOW)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@contextmanager
def preferred(*pids: int) -> Iterator[None]:
    """Let processes go before all others, and what this thread starts: if one may.

    On a busy machine the 99th percentile is otherwise what the scheduler does.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with suppress(PermissionError):
        for pid in (*pids, 0):
            os.sched_setscheduler(pid, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)


def tell(process: subprocess.Popen[str], order: str) -> None:
    """Have it done before anything else."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{order}\n")
    process.stdin.flush()
    assert process.stdout.readline() == f"{order}\n"


def p99_ms(peers: list[Peer]) -> float:
    """Return it for requests of all clients at once, again and again."""
    taken = []
    for _ in range(TIMES):
        began_s = time.monotonic()
        for peer in peers:
            peer.send(get())
        for peer in peers:
            assert peer.response()[0] == 200
            taken.append(time.monotonic() - began_s)
    return sorted(taken)[int(len(taken) * 0.99)] * 1000


def share(pid: int) -> float:
    """Return what part of a core a process takes, looked at for a second."""
    began_s, before_s = time.monotonic(), cpu_s(pid)
    threading.Event().wait(1.0)
    return (cpu_s(pid) - before_s) / (time.monotonic() - began_s)


async def test_well_behaved_clients(
    start_split: SplitStarter, unmeasured: None, untraced: None
) -> None:
    """Slow heads, bodies, readers and handshakes leave the others' p99 below twice.

    The same load with them and without, in turns; what is compared are the medians.
    For themselves, with 2,400 bytes and pieces a second, they cost little.
    """
    split = await start_split(workers=1, plain=False)
    (pid,) = split.supervisor.pids

    def measure() -> tuple[float, float, float]:
        alone, beside = [], []
        with slow_clients(split) as process, preferred():
            peers = [connect_tls(split.https) for _ in range(CLIENTS)]
            p99_ms(peers)
            for _ in range(ROUNDS):
                alone.append(p99_ms(peers))
                tell(process, "on")
                beside.append(p99_ms(peers))
                tell(process, "off")
            tell(process, "on")
            busy = share(pid)
        print([f"{a:.1f} {b:.1f}" for a, b in zip(alone, beside, strict=True)])
        return statistics.median(alone), statistics.median(beside), busy

    with preferred(pid), backend(giving) as one:
        await split.proxy.replace_certificates((certificate(),))
        await split.proxy.replace_table(table_of(one))
        alone_ms, beside_ms, busy = await in_thread(measure)
    print(
        f"p99 {alone_ms:.2f} ms alone, {beside_ms:.2f} ms beside {4 * SLOW} slow ones"
    )
    slower = slowness()
    print(f"{busy:.0%} of a core for the slow ones alone")
    assert beside_ms < 2 * max(alone_ms, SHORT_MS * slower)
    assert busy < 0.4 * slower
