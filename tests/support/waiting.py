"""Waiting for real processes: bounded, and never for longer than needed."""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

STEP_S = 0.05
#: What a test of a promise allows on a machine that does nothing else: coverage is
#: measured, and a virtual machine is no server.
ALLOWANCE = 2.0


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


def allowance() -> float:
    """Return by what to multiply a promised time: more on a machine that is busy.

    On one with several processes for each core, each gets so much less of it.
    """
    running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[0])
    busy = max(os.getloadavg()[0], running) / (os.cpu_count() or 1)
    return ALLOWANCE * max(1.0, busy)
