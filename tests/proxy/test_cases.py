"""Raw clients and raw backends against a running proxy, some 360 of them.

Every request case goes over a socket to a proxy whose backend is lenient. Held
against it: the status and the end of the connection, or the right number of answers
and a connection that still answers what it is asked; that the backend got no request
which nobody sent; and that every habit in L{tests.proxy.lenient} reads the bytes
that reached the backend as the same requests.
"""

from __future__ import annotations

import pytest
from attrs import define, field

from tests.proxy.cases import HOST, TABLE, Case
from tests.proxy.conftest import Running, Starter
from tests.proxy.lenient import READERS, Incomplete
from tests.proxy.support import Peer, backend, connect, in_thread

PROBE = b"GET /probe HTTP/1.1\r\n" + HOST + b"\r\n"


@define
class Lenient:
    """A backend that answers with the target it has read, and keeps every byte."""

    taken: list[bytearray] = field(factory=list)

    def __call__(self, peer: Peer) -> None:
        taken = bytearray()
        self.taken.append(taken)
        held = b""
        while data := peer.recv():
            taken += data
            held += data
            while True:
                try:
                    (method, target, _), held = READERS[0].first(held)
                except Incomplete:
                    break
                body = b"" if method == b"HEAD" else target
                peer.send(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(target), body)
                )


def fault_of(port: int, case: Case) -> str:
    """Run one case; return what was wrong, or nothing."""
    try:
        return _outcome(connect(port), case)
    except OSError as error:
        return repr(error)


def _outcome(peer: Peer, case: Case) -> str:
    if case.status:
        peer.send(case.data)
        answer = peer.rest()
        statuses = [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]]
        if statuses != [b"200"] * case.requests + [b"%d" % case.status]:
            return f"answered {answer[:200]!r}"
        if answer.count(b"\r\nConnection: close\r\n") != 1:
            return "the end was not told"
        return ""
    peer.send(case.data)
    fields: dict[str, str] = {}
    for _ in range(case.requests):
        status, fields, _ = peer.response()
        if status != 200:
            return f"answered with {status}"
    if not case.keeps:
        return (
            ""
            if fields.get("connection") == "close" and peer.is_closed()
            else "not closed"
        )
    peer.send(PROBE)
    status, _, body = peer.response()
    return (
        "" if (status, body) == (200, b"/probe") else f"the probe got {status} {body!r}"
    )


def misread(case: Case, app: Lenient) -> str:
    """Return what is wrong with what has reached the backend."""
    probes = int(not case.status and case.keeps)
    counts = 0
    for taken in app.taken:
        readings = [reader.requests(bytes(taken)) for reader in READERS]
        if any(reading != readings[0] for reading in readings):
            return f"read differently: {readings}"
        for _, target, body in readings[0]:
            if target == b"/smuggled":
                return "a smuggled request"
            counts += target != b"/probe"
            if case.body is not None and target == b"/" and body != case.body:
                return f"another body: {body!r}"
    probes_seen = sum(bytes(taken).count(b" /probe ") for taken in app.taken)
    if (counts, probes_seen) != (case.requests, probes):
        return f"{counts} requests, {probes_seen} probes"
    return ""


@pytest.mark.parametrize("group", TABLE)
async def test_requests(start_proxy: Starter, group: str) -> None:
    """Each case is refused, or passes as what it was meant to be."""
    running: Running = start_proxy()
    faults: dict[str, str] = {}
    for name, case in TABLE[group].items():
        app = Lenient()
        with backend(app) as one:
            await running.serve(one)
            fault = await in_thread(fault_of, running.http, case)
        fault = fault or misread(case, app)
        if fault:
            faults[name] = fault
    assert not faults
