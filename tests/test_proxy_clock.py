"""haloy-proxy while the clock of its machine jumps; the processes as they are."""

from __future__ import annotations

import ssl
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from haloy.proxy.control.client import RemoteProxy
from tests.proxy.apps import OK
from tests.proxy.split.test_supervisor import certificate
from tests.proxy.support import Peer, backend, connect_tls, get, in_thread, table_of
from tests.support.clock import JUMPS, faked_clock, set_clock, years_of
from tests.support.ports import free_port
from tests.support.proxy import running_proxy

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("unmeasured")  # the library would be in coverage's way
async def test_the_clock_jumps(
    tmp_path: Path, reactor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two days on, a year back, and right: what waits goes on waiting, no time is over.

    A kept connection stays, a slow answer comes, handshakes are made with the same
    certificate, a worker that is killed is replaced.
    """
    set_clock(tmp_path / "clock", timedelta())
    for name, value in faked_clock(tmp_path / "clock").items():
        monkeypatch.setenv(name, value)
    port = free_port()
    where = ("--http", "", "--https", f"127.0.0.1:{port}", "--stop-limit", "2")
    go_on = threading.Semaphore(0)

    def app(peer: Peer) -> None:
        while head := peer.head():
            if b"/slow" in head:
                go_on.acquire(timeout=60)
            peer.send(OK)

    def shown(peer: Peer) -> bytes | None:
        assert isinstance(peer.socket, ssl.SSLSocket)
        return peer.socket.getpeercert(binary_form=True)

    def jumps(replace: Any) -> None:
        kept, former = connect_tls(port), connect_tls(port)
        for jump in JUMPS:
            slow = connect_tls(port)
            slow.send(get(target="/slow"))
            kept.send(get())
            assert kept.response()[0] == 200
            set_clock(tmp_path / "clock", jump)
            threading.Event().wait(1.1)  # in which every process has looked
            kept.send(get())
            assert kept.response()[0] == 200
            go_on.release()
            assert slow.response()[0] == 200
            replace()
            new = connect_tls(port)
            assert shown(new) == shown(former)
            kept = new

    remote = RemoteProxy(reactor, str(tmp_path / "proxy.sock"), {})
    with running_proxy(tmp_path, *where) as proxy, backend(app) as one:
        remote.startService()
        try:
            await remote.replace_certificates((certificate(),))
            await remote.replace_table(table_of(one))
            await in_thread(jumps, proxy.kill_worker)
            assert remote.trouble == ""
        finally:
            await remote.stopService()
        text = proxy.log.read_text()
    assert years_of(text) == 2, "the proxy has not seen another clock"
    assert "hangs" not in text
    assert "Traceback" not in text
