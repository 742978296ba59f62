"""Accepted sockets are what the standard library would have given."""

from __future__ import annotations

import os
import socket

import pytest

from haloy.proxy.accepting import accept, family_of


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_an_accepted_socket(family: socket.AddressFamily, host: str) -> None:
    """It knows its family, kind and peer, and does not block, for the kernel either."""
    with (
        socket.create_server((host, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2]) as client,
    ):
        assert family_of(listening) == family
        one, address = accept(listening)
        with one:
            assert type(one) is socket.socket
            assert (one.family, one.proto) == (family, 0)
            assert one.type & socket.SOCK_STREAM
            assert address == one.getpeername() == client.getsockname()
            assert one.gettimeout() == 0.0
            assert not os.get_blocking(one.fileno())
            assert not os.get_inheritable(one.fileno())
            assert client.getpeername() == one.getsockname()
        assert client.recv(1) == b""


def test_nobody_is_there() -> None:
    """It says so as C{accept} does, and leaves no descriptor behind."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BlockingIOError):
            accept(listening)
        assert len(os.listdir("/proc/self/fd")) == before
