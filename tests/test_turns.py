"""Who lets others first asks for long turns; who it starts is as others are."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from haloy.turns import LONG_TURN_NS, turn_ns

#: What a process says of its first thread, of a later one, of its child, and after it.
PROGRAM = """
import os, threading
from haloy.turns import LONG_TURN_NS, as_usual, let_others_first, turn_ns
def child():
    into, out = os.pipe()
    if os.fork() == 0:
        os.write(out, b"%d" % turn_ns())
        os._exit(0)
    os.wait()
    return int(os.read(into, 20))
found = [turn_ns()]
if {yields}:
    let_others_first(LONG_TURN_NS)
found.append(turn_ns())
later = threading.Thread(target=lambda: found.append(turn_ns()))
later.start()
later.join()
with as_usual():
    found.append(child())
found.append(turn_ns())
print(*found, os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0))
"""


def _told(yields: bool, *prefix: str) -> list[int]:
    if not turn_ns():
        pytest.skip("this kernel has no turns that can be chosen (Linux 6.12)")
    ran = subprocess.run(
        [*prefix, sys.executable, "-c", PROGRAM.format(yields=yields)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [int(one) for one in ran.stdout.split()]


def test_all_of_a_process_asks_for_long_turns() -> None:
    """Threads, too; a program it starts has turns as it had; nothing else changes."""
    before, now, thread, child, after, nice, policy = _told(True)
    assert now == thread == after == LONG_TURN_NS > before
    assert child == before
    assert (nice, policy) == (os.getpriority(os.PRIO_PROCESS, 0), os.SCHED_OTHER)


def test_who_does_not_ask_is_as_others() -> None:
    """And what it starts."""
    before, *others, _, _ = _told(False)
    assert set(others) == {before}


def test_what_an_administrator_has_chosen_stays() -> None:
    """C{Nice=} and C{CPUSchedulingPolicy=} of a unit."""
    _, now, *_, nice, policy = _told(True, "nice", "-n5", "chrt", "--batch", "0")
    assert (now, nice, policy) == (LONG_TURN_NS, 5, os.SCHED_BATCH)
