"""Waiting for real processes: bounded, and never for longer than needed."""

from __future__ import annotations

import json
import os
import statistics
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

STEP_S = 0.05
#: What a test of a promise allows on a machine that does nothing else: coverage is
#: measured, and a virtual machine is no server.
ALLOWANCE = 2.0
#: A piece of work, and what it took of a core on the machine that limits come from.
PIECE = {f"key-{one}": [one, str(one), {"of": one / 7}] for one in range(300)}
PIECE_S = 0.0006


def get_when_up(url: str, limit_s: float = 10.0) -> str:
    """Return what is at C{url}, once somebody takes connections there."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError:
            raise
        except OSError:
            if time.monotonic() > deadline:
                raise
        time.sleep(STEP_S)


def wait_until(
    condition: Callable[[], bool], explain: Callable[[], str], limit_s: float = 30.0
) -> float:
    """Return after how many seconds C{condition} held; fail with C{explain()}."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < limit_s, explain()
        time.sleep(STEP_S)
    return time.monotonic() - began


def scheduled_s(pid: int | str) -> tuple[float, float]:
    """Return how long the main thread of C{pid} ran, and waited for a core to run on.

    What it ran between two events is what one waited for it, on a busy machine as well.
    """
    ran_ns, waited_ns = Path(f"/proc/{pid}/schedstat").read_text().split()[:2]
    return int(ran_ns) / 1e9, int(waited_ns) / 1e9


def slowness() -> float:
    """Return by what to multiply a limit of processor time: 1 or more.

    A core of another machine, or one that others share, takes longer for the same work.
    That work is C's: whether coverage is measured does not change it.
    """

    def took_s() -> float:
        began_s = time.thread_time()
        for _ in range(5):
            json.loads(json.dumps(PIECE))
        return (time.thread_time() - began_s) / 5

    return max(1.0, statistics.median(took_s() for _ in range(9)) / PIECE_S)


def allowance() -> float:
    """Return by what to multiply a promised time: more where all takes longer.

    On a machine with several processes for each core, each gets so much less of it; and
    a core may be slow.
    """
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    busy = max(os.getloadavg()[0], running) / (os.cpu_count() or 1)
    return ALLOWANCE * max(1.0, busy) * slowness()
