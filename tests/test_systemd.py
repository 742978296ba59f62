"""What L{haloy.systemd} tells a service manager."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from haloy.systemd import Notifier, notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """Give the manager's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        one.bind(str(tmp_path / "notify"))
        one.setblocking(False)
        yield one


def heard(manager: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(manager.recv(4096).decode())
        except BlockingIOError:
            return found


def test_the_states_of_a_service(manager: socket.socket) -> None:
    """Each is one datagram of C{sd_notify}'s form."""
    one = Notifier(Clock(), str(manager.getsockname()))
    one.ready("serving")
    one.reloading(17)
    one.status("2 apps")
    one.stopping()
    assert heard(manager) == [
        "READY=1\nSTATUS=serving",
        "RELOADING=1\nMONOTONIC_USEC=17",
        "STATUS=2 apps",
        "STOPPING=1\nSTATUS=ending requests",
    ]


def test_the_watchdog_is_fed_three_times_in_its_time(manager: socket.socket) -> None:
    """By the reactor: one that hangs feeds nothing."""
    clock = Clock()
    one = Notifier(clock, str(manager.getsockname()), watchdog_s=30.0)
    Deferred.fromCoroutine(one.start())
    clock.pump([10.0] * 3)
    assert heard(manager) == ["WATCHDOG=1"] * 4
    one.close()
    clock.pump([10.0] * 3)
    assert heard(manager) == []
    assert not clock.getDelayedCalls()


def test_it_feeds_on_while_requests_end(manager: socket.socket) -> None:
    """A drain may take longer than the watchdog allows."""
    clock = Clock()
    one = Notifier(clock, str(manager.getsockname()), watchdog_s=3.0)
    Deferred.fromCoroutine(one.start())
    Deferred.fromCoroutine(one.stop())
    clock.advance(1.0)
    assert heard(manager)[-2:] == ["STOPPING=1\nSTATUS=ending requests", "WATCHDOG=1"]
    one.close()


def test_without_a_manager_nothing_is_sent() -> None:
    """The same program runs by hand, and beside a manager that has gone."""
    clock = Clock()
    one = notifier(clock, {})
    one.ready("x")
    Deferred.fromCoroutine(one.start())
    one.close()
    assert not clock.getDelayedCalls()
    Notifier(clock, "/nobody/listens").ready("x")


def test_an_abstract_address() -> None:
    """C{@name} is what systemd writes for one."""
    name = f"haloy-{os.getpid()}-notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.setblocking(False)
        Notifier(Clock(), f"@{name}").ready("x")
        assert heard(manager) == ["READY=1\nSTATUS=x"]


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_of_the_environment(
    environment: dict[str, str], watchdog_s: float
) -> None:
    """One that was meant for another process is not ours."""
    assert notifier(Clock(), environment, 7).watchdog_s == watchdog_s
