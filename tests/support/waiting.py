"""Waiting for real processes: bounded, and never for longer than needed."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable

STEP_S = 0.05


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
