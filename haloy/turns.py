"""Which processes go first when several want a CPU at the same moment.

haloyd and the supervisor of a split proxy work for milliseconds at a time, a request
takes a worker a tenth of one. One that wakes interrupts another at once only if it asks
for shorter turns, and has had no more than its share of late (EEVDF, the scheduler's
way of choosing). So units have shares (C{CPUWeight=}), and haloyd and the supervisor
ask for long turns. Where all ask for the usual ones, a worker or an app may wait for
the end of haloyd's, which with a clock of 250 Hz is up to 4 ms away.

Nobody is nicer than others here: workers with a nice value of -10, in one group with
apps and clients, interrupt them for each answer, and two of them do a third less.

Linux 6.12 and later (sched_setattr(2), C{sched_runtime} of an ordinary process); an
earlier one takes no notice.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from twisted.logger import Logger

#: Some times what is usual, 0.7 to 2.8 ms. More is of no more use.
LONG_TURN_NS: Final = 20_000_000
#: For who shares a group of the scheduler (a unit of systemd) with those who are to go
#: first: where the CPU never rests, the group waits as its member does that came first.
SHARED_TURN_NS: Final = 4_000_000
_USUAL: Final = 0

#: sched_setattr and sched_getattr, for which older C libraries have no function.
_CALLS: Final = {"x86_64": (314, 315), "aarch64": (274, 275), "riscv64": (274, 275)}
# struct sched_attr: size, policy, flags, nice, priority, runtime, deadline, period.
_ATTRIBUTES: Final = struct.Struct("=IIQiIQQQ")
_ORDINARY: Final = (os.SCHED_OTHER, os.SCHED_BATCH)

_log = Logger()


def let_others_first(wanted_ns: int) -> None:
    """Be interrupted by whoever wakes; threads that begin later are, too.

    To be called by a process's first thread, before it starts others.
    """
    try:
        _ask_for(wanted_ns)
    except OSError as problem:
        _log.info(
            "what waits for the CPU does not go first: {problem}; if systemd's unit "
            "forbids sched_setattr, it is of an older release",
            problem=problem.strerror,
        )


@contextmanager
def as_usual() -> Iterator[None]:
    """Let a process that is started meanwhile, by this thread, be one like others."""
    long_ns = turn_ns()
    if long_ns < SHARED_TURN_NS:
        yield
        return
    _ask_for(_USUAL)
    try:
        yield
    finally:
        _ask_for(long_ns)


def turn_ns(thread: int = 0) -> int:
    """Return how long the turns of C{thread}, or of this one, are.

    0: the kernel does not say.
    """
    calls = _CALLS.get(platform.machine())
    if calls is None:
        return 0
    found = ctypes.create_string_buffer(_ATTRIBUTES.size)
    if ctypes.CDLL(None).syscall(calls[1], thread, found, _ATTRIBUTES.size, 0):
        return 0
    return int(_ATTRIBUTES.unpack(found.raw)[5])


def _ask_for(wanted_ns: int) -> None:
    """Change nothing else. @raise OSError: it is not allowed."""
    calls = _CALLS.get(platform.machine())
    policy = os.sched_getscheduler(0)
    if calls is None or policy not in _ORDINARY:
        return
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, policy, 0, nice, 0, wanted_ns, 0, 0)
    if ctypes.CDLL(None, use_errno=True).syscall(calls[0], 0, wanted, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
