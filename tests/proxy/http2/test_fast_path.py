"""The short way does what the general way does, scene by scene.

A client that names its requests goes the general way, so each scene is played twice.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

from haloy.model.app import ProxyOptions
from haloy.proxy.fast_request import Plan
from haloy.proxy.http2 import frames
from haloy.proxy.http2.downstream import Http2Downstream
from haloy.proxy.http2.fast_path import Http2FastRequest
from haloy.proxy.http2.head import Meaning
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import Answer, H2Client, until
from tests.proxy.http2.support import Fields
from tests.proxy.support import Backend, Peer, backend, in_thread

WHOLE = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nabc"
ANSWERS: dict[str, list[bytes]] = {
    "/whole": [WHOLE],
    "/parts": [WHOLE[:-2], WHOLE[-2:]],
    "/half-a-head": [WHOLE[:20], WHOLE[20:]],
    "/empty": [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"],
    "/nothing": [b"HTTP/1.1 204 No\r\n\r\n"],
    "/unmodified": [b"HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n"],
    "/chunked": [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"3\r\nabc\r\n0\r\nX-Sum: 6\r\n\r\n",
    ],
    "/early": [b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + WHOLE],
    "/cookie": [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nContent-Length: 1\r\n\r\nx",
    ],
    "/large": [b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90000],
    "/missing": [b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nno"],
    "/bad": [b"HTTP/1.1 what\r\n\r\n"],
    "/closing": [WHOLE.replace(b"X-A: 1", b"Connection: close")],
    "/more": [WHOLE + b"surplus"],
    "/cut": [WHOLE[:-1]],
    "/silent": [],
}
_ENDS = {"/closing", "/cut", "/silent", "/bad", "/more"}

_names = re.compile(rb"(?<=X-Request-ID: ).*?\r\ntraceparent: .*?\r\n")


def scripted(peer: Peer, seen: list[bytes]) -> None:
    """Answer by the path, and note what was asked."""
    while head := peer.head():
        seen.append(_names.sub(b"", head).replace(b"x-request-id: 1\r\n", b""))
        path = head.split(b" ")[1].decode().partition("?")[0]
        for piece in ANSWERS[path]:
            peer.send(piece)
        if path in _ENDS:
            peer.socket.close()
            return


async def play(running: Running, app: Backend, path: str, *, named: bool) -> Any:
    """Ask some times for C{path}; return all that can be seen from outside."""
    running.records.clear()
    fields = [("accept", "*/*"), ("cookie", "a=1"), ("cookie", "b=2")]
    if named:
        fields.append(("x-request-id", "1"))
    shown: list[Answer] = []

    def ask() -> None:
        client = H2Client(running.https)
        for _ in range(2):
            client.get("/whole", fields=fields)
        shown.extend(client.get(path, fields=fields) for _ in range(4))
        client.close()

    await in_thread(ask)
    records = [
        one._replace(request_id="", traceparent="", head_s=0.0, total_s=0.0)
        for one in running.records
    ]
    for answer in shown:
        # Pages of ours tell the request's id.
        answer.fields = [one for one in answer.fields if one[0] != "x-request-id"]
    return shown, records


@pytest.mark.parametrize("path", ANSWERS)
async def test_both_ways_are_one(start_http2: Starter, path: str) -> None:
    """To the client, the app and the log."""
    running = start_http2()
    seen: list[bytes] = []
    with backend(lambda peer: scripted(peer, seen)) as app:
        await running.serve(app)
        general = await play(running, app, path, named=True)
        asked, seen[:] = list(seen), []
        short = await play(running, app, path, named=False)
    assert short == general
    assert seen == asked
    assert len(general[0]) == 4


def plans(running: Running) -> list[Plan]:
    rests = [
        rest.meaning.plan
        for client in running.proxy._switch.clients
        if isinstance(client, Http2Downstream)
        for rest in client.engine._decoder._rests.values()
        if isinstance(rest.meaning, Meaning)
    ]
    return [one for one in rests if isinstance(one, Plan)]


def owners(running: Running) -> list[object]:
    return [
        stream.owner
        for client in running.proxy._switch.clients
        if isinstance(client, Http2Downstream)
        for stream in client.engine.streams.values()
    ]


async def test_which_requests_go_the_short_way(start_http2: Starter) -> None:
    """GET with fields that came before and name nothing, whatever the path is."""
    running = start_http2()
    held = threading.Event()
    asked = threading.Event()

    def script(peer: Peer) -> None:
        while head := peer.head():
            if b" /wait" in head:
                asked.set()
                held.wait(10)
            peer.send(WHOLE)

    with backend(script) as app:
        await running.serve(app)
        client = await in_thread(lambda: H2Client(running.https))
        for name, fields in (
            ("no", [("x-request-id", "1")]),
            ("no", [("traceparent", f"00-{'1' * 32}-{'1' * 16}-01")]),
            ("yes", [("accept", "*/*")]),
        ):
            for method in ("POST", "GET"):
                await in_thread(_repeat, client, method, fields)
            asked.clear()
            held.clear()
            stream = await in_thread(lambda f=fields: client.ask("/wait", fields=f))
            await in_thread(asked.wait, 10)
            (owner,) = owners(running)
            assert isinstance(owner, Http2FastRequest) == (name == "yes")
            held.set()
            assert (await in_thread(client.answer, stream)).body == b"abc"
        (plan,) = plans(running)
        assert plan.name == "app.example.com"


def _repeat(client: H2Client, method: str, fields: list[tuple[str, str]]) -> None:
    for _ in range(3):
        client.get("/w", method=method, fields=fields)


class Client(H2Client):
    """One that sends a field with each request, always the same."""

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        fields: Fields = (("accept", "*/*"),),
        body: bytes | None = b"",
    ) -> int:
        return super().ask(path, method, fields, body)


async def warmed(running: Running) -> Client:
    """Return a client whose next GET goes the short way."""
    client = await in_thread(lambda: Client(running.https))
    for _ in range(4):
        assert (await in_thread(client.get)).status == 200
    assert plans(running)
    return client


async def test_a_new_table_counts_at_once(start_http2: Starter) -> None:
    """What was learned for the old one does not lead there."""

    def script(text: bytes) -> Any:
        def answer(peer: Peer) -> None:
            while peer.head():
                peer.send(WHOLE.replace(b"abc", text))

        return answer

    running = start_http2()
    with backend(script(b"old")) as old, backend(script(b"new")) as new:
        await running.serve(old)
        client = await warmed(running)
        await running.serve(new, generation=2)
        for _ in range(3):
            assert (await in_thread(client.get)).body == b"new"


async def test_replicas_take_turns(start_http2: Starter) -> None:
    """One that is gone is left out, and nothing is lost."""

    def answer(peer: Peer) -> None:
        while peer.head():
            peer.send(WHOLE)

    running = start_http2()
    with backend(answer) as first:
        with backend(answer) as second:
            await running.serve(first, second)
            client = await warmed(running)
            for _ in range(10):
                assert (await in_thread(client.get)).status == 200
            shares = [one.upstream for one in running.records[-10:]]
            assert {shares.count(one) for one in shares} == {5}
        for _ in range(6):
            assert (await in_thread(client.get)).status == 200


async def test_a_request_under_way_may_end_in_all_ways(start_http2: Starter) -> None:
    """Taken back by its client; timed out; with the connection gone."""
    gone = threading.Event()
    asked = threading.Event()

    def script(peer: Peer) -> None:
        while head := peer.head():
            if b" /hang" not in head:
                peer.send(WHOLE)
                continue
            asked.set()
            assert peer.is_closed()
            gone.set()
            return

    running = start_http2()
    with backend(script) as app:
        await running.serve(app, options=ProxyOptions(response_timeout_s=1.0))
        client = await warmed(running)
        stream = await in_thread(client.ask, "/hang")
        await in_thread(asked.wait, 10)
        (owner,) = owners(running)
        assert isinstance(owner, Http2FastRequest)
        await in_thread(client.cancel, stream)
        assert await in_thread(gone.wait, 10)
        await until(lambda: running.records[-1].outcome == "gone")
        gone.clear()
        assert (await in_thread(client.get)).status == 200
        assert (await in_thread(client.get, "/hang")).status == 504
        assert await in_thread(gone.wait, 10)
        gone.clear()
        assert (await in_thread(client.get)).status == 200
        asked.clear()
        await in_thread(client.ask, "/hang")
        await in_thread(asked.wait, 10)
        client.close()
        assert await in_thread(gone.wait, 10)
        await until(lambda: len(running.records) == 9)
    assert [(one.status, one.outcome) for one in running.records[-3:]] == [
        (504, "done"),
        (200, "done"),
        (0, "gone"),
    ]
    assert running.proxy._switch.pools
    assert all(not one.outstanding for one in running.proxy._switch.pools.values())


async def test_what_is_malformed_is_refused_as_ever(start_http2: Starter) -> None:
    """A path that is none; another authority; the CA's validation."""

    def answer(peer: Peer) -> None:
        while peer.head():
            peer.send(WHOLE)

    running = start_http2()
    with backend(answer) as app:
        await running.serve(app)
        client = await warmed(running)
        assert (await in_thread(client.get, "/a#b")).status == 400
        challenge = "/.well-known/acme-challenge/x"
        assert (await in_thread(client.get, challenge)).status == 404
        client.name = "other.example.com"
        assert (await in_thread(client.get)).status in (404, 421)
        client.name = "app.example.com"
        assert (await in_thread(client.get)).status == 200


async def test_a_window_that_is_shut_makes_the_answer_wait(
    start_http2: Starter,
) -> None:
    """It comes when the client opens it, to the last byte."""

    def answer(peer: Peer) -> None:
        while peer.head():
            peer.send(WHOLE)

    running = start_http2()
    with backend(answer) as app:
        await running.serve(app)
        client = await warmed(running)
        await in_thread(_set_window, client, 2)
        stream = await in_thread(client.ask)
        await in_thread(client.until, lambda: client.answers[stream].body == b"ab")
        await in_thread(_set_window, client, 1000)
        assert (await in_thread(client.answer, stream)).body == b"abc"


def _set_window(client: H2Client, size: int) -> None:
    client.takes = False
    client.h2.update_settings({frames.INITIAL_WINDOW_SIZE: size})
    client.flush()
