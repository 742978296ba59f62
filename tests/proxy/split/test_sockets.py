"""Where a supervisor gets its listening sockets from."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from haloy.errors import ConfigError
from haloy.proxy.split.sockets import adopt, inherited, listening, without_sockets


def test_sockets_of_systemd_are_told_by_environment() -> None:
    """Only what is meant for this process, and children do not see it."""
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": "7", "LISTEN_FDNAMES": "a:b"}
    assert inherited(environment, 8) == []
    assert inherited({**environment, "LISTEN_FDS": "x"}, 7) == []
    assert inherited({}, 7) == []
    assert inherited(environment, 7) == [3, 4]
    assert without_sockets({**environment, "PATH": "/bin"}) == {"PATH": "/bin"}


def opened() -> tuple[int, int]:
    """Return descriptor and port of a listening socket."""
    one = socket.create_server(("127.0.0.1", 0))
    port: int = one.getsockname()[1]
    return one.detach(), port


def test_adopted_sockets_are_told_apart_by_port() -> None:
    """Whatever their order."""
    first, http = opened()
    second, https = opened()
    found = adopt([second, first], f":{http}", f"127.0.0.1:{https}")
    try:
        assert [one.fileno() for one in found.http] == [first]
        assert [one.fileno() for one in found.https] == [second]
        assert not os.get_inheritable(first)
        assert not found.http[0].getblocking()
    finally:
        found.close()


def test_a_socket_for_nothing_is_refused() -> None:
    """A unit and the options that do not fit each other; nothing is left open."""
    descriptor, port = opened()
    with pytest.raises(ConfigError, match=f"port {port}, which is neither"):
        listening(":1", "", [descriptor])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_descriptor_that_is_no_socket() -> None:
    """The environment may lie."""
    reading, writing = os.pipe()
    with pytest.raises(ConfigError, match=f"descriptor {reading}.*not a socket"):
        adopt([reading], ":1", "")
    os.close(reading)
    os.close(writing)


def test_without_systemd_they_are_opened() -> None:
    """An empty address is none."""
    found = listening("127.0.0.1:0", "", [])
    assert len(found.http) == 1
    assert found.https == ()
    found.close()


def test_a_port_that_is_taken() -> None:
    """The text names it, and what was opened before is closed."""
    descriptor, port = opened()
    with pytest.raises(ConfigError, match=f"127.0.0.1:{port}.*in use"):
        listening(f"127.0.0.1:{port}", "127.0.0.1:0", [])
    os.close(descriptor)


def test_the_environment_of_the_start() -> None:
    """Twisted has taken LISTEN_FDS out of os.environ before anybody can look."""
    program = (
        "import os, twisted.internet.endpoints\n"
        "from haloy.proxy.split.sockets import first_environment\n"
        "print(os.environ.get('LISTEN_FDS'), first_environment()['LISTEN_FDS'])\n"
    )
    # The shell's process becomes the one that systemd would have told.
    command = 'export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:b; exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.split() == ["None", "2"]
