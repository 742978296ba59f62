"""The lean reactor, in a process of its own as a process has one reactor."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.proxy.apps import OK
from tests.proxy.support import (
    answering,
    backend,
    connect,
    get,
)

SERVER = """
import sys
from socket import MSG_PEEK
from haloy.proxy.reactor import install
install()
from twisted.internet import reactor
from twisted.internet.task import deferLater
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.settings import Settings
from haloy.proxy.downstream import Downstream
from haloy.model.app import Address, Domain
from haloy.proxy.routes import RoutedApp, Upstream, build_table

proxy = EmbeddedProxy(reactor, Settings(http="127.0.0.1:0", https="", stop_s=1))
proxy.startService()
table, _ = build_table(1, None, [
    RoutedApp("app", (Domain("app.example.com"),),
              (Upstream("one", Address("127.0.0.1", int(sys.argv[1]))),)),
    RoutedApp("dead", (Domain("dead.example.com"),),
              (Upstream("two", Address("127.0.0.1", 1)),)),
])
reactor.callWhenRunning(proxy._switch.replace_table, table)
reactor.addSystemEventTrigger("before", "shutdown", proxy.stopService)

def fault(self, before=Downstream.doRead):
    if b"fault" in self.socket.recv(65536, MSG_PEEK):
        raise RuntimeError("a fault of ours")
    before(self)

# What the reactor calls: a compiled class looks up its own methods natively.
Downstream.doRead = fault
reactor.callWhenRunning(print, proxy.http_port, flush=True)
reactor.callLater(20, reactor.stop)
assert abs(reactor.seconds() - __import__("time").monotonic()) < 5
reactor.run()
"""


@pytest.fixture
def server() -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run the proxy on the lean reactor; give its port."""
    with backend(answering(OK)) as one:
        port = getattr(one.address, "port", 0)
        with subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port)], stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            yield int(process.stdout.readline()), process
            process.terminate()
            process.wait(10)


def test_requests(server: tuple[int, subprocess.Popen[bytes]]) -> None:
    """Requests, refused dials, resets and idle ends are all dispatched."""
    port, process = server
    peer = connect(port)
    for _ in range(3):
        peer.send(get())
        assert peer.response()[2] == b"hello"
    peer.send(get("dead.example.com"))
    assert peer.response()[0] == 502
    other = connect(port)
    other.send(b"GET / HTTP/1.1\r\n")
    other.reset()
    peer.close()
    again = connect(port)
    again.send(get())
    assert again.response()[0] == 200
    process.terminate()
    assert process.wait(10) == 0


def test_a_fault_costs_one_connection(
    server: tuple[int, subprocess.Popen[bytes]],
) -> None:
    """An exception of ours ends its connection and not the process."""
    port, _ = server
    peer = connect(port)
    peer.send(get(target="/fault"))
    assert peer.is_closed()
    other = connect(port)
    other.send(get())
    assert other.response()[0] == 200


def test_it_sleeps(server: tuple[int, subprocess.Popen[bytes]]) -> None:
    """Idle connections and a client that does not read cost no time."""
    port, process = server
    peers = [connect(port) for _ in range(5)]
    for peer in peers:
        peer.send(get())
        peer.response()

    def spent() -> int:
        with open(f"/proc/{process.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = spent()
    threading.Event().wait(0.6)
    assert spent() - before <= 5


BRIEFLY = """
import os, select, sys, threading, time
from haloy.proxy.reactor import LeanReactor
reactor = LeanReactor()
rests = []
for _ in range(20):
    began_s = time.monotonic()
    reactor.doPoll(0.0002)
    rests.append(time.monotonic() - began_s)
into, out = os.pipe()
class Reader:
    def fileno(self): return into
    def doRead(self): os.read(into, 1); print("read")
    def logPrefix(self): return "-"
    def connectionLost(self, reason): pass
reactor.addReader(Reader())
os.write(out, b"x")
reactor.doPoll(0.0009)
print(min(rests))
"""


def test_it_can_wait_for_less_than_a_millisecond() -> None:
    """Which is epoll's least; what comes is handled then as ever."""
    ran = subprocess.run(
        [sys.executable, "-c", BRIEFLY], capture_output=True, text=True, check=True
    )
    read, shortest_s = ran.stdout.split()
    assert read == "read"
    assert 0.0002 <= float(shortest_s) < 0.001
