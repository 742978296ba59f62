"""Apps that speak HTTP/2: grpcio as client and as server, the proxy between."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from haloy.model.app import Address, Protocol, ProxyOptions
from haloy.proxy.http2.control import ENDED_REQUEST
from haloy.proxy.http2.engine import Engine
from haloy.proxy.http2.hpack import encode
from haloy.proxy.routes import Upstream
from tests.proxy.conftest import Running, Starter
from tests.proxy.http2.clients import Answer, H2Client, tls_peer, until
from tests.proxy.support import Peer, backend, in_thread

OPTIONS = ProxyOptions(protocol=Protocol.H2C)
LIMIT_S = 20.0


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    """The methods of the server, on bytes."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self.hanging = threading.Event()

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        found: Any = getattr(self, name, None)
        if found is None:
            return None
        kind = {
            "echo": grpc.unary_unary_rpc_method_handler,
            "fail": grpc.unary_unary_rpc_method_handler,
            "hang": grpc.unary_unary_rpc_method_handler,
            "down": grpc.unary_stream_rpc_method_handler,
            "up": grpc.stream_unary_rpc_method_handler,
            "talk": grpc.stream_stream_rpc_method_handler,
        }[name]
        return kind(found)

    def echo(self, request: bytes, context: Any) -> bytes:
        sent = dict(context.invocation_metadata())
        context.send_initial_metadata((("x-head", sent.get("x-a", "")),))
        context.set_trailing_metadata((("x-tail-bin", b"\x00\xff"),))
        return request

    def fail(self, request: bytes, context: Any) -> bytes:
        context.abort(grpc.StatusCode.NOT_FOUND, "nö, nicht da")
        return b""

    def hang(self, request: bytes, context: Any) -> bytes:
        context.add_callback(self.cancelled.set)
        self.hanging.set()
        self.cancelled.wait(LIMIT_S)
        return b""

    def down(self, request: bytes, context: Any) -> Iterator[bytes]:
        for _ in range(int(request)):
            yield b"x" * 100_000

    def up(self, requests: Iterator[bytes], context: Any) -> bytes:
        return b"%d" % sum(len(one) for one in requests)

    def talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        for one in requests:
            yield one.upper()


@contextmanager
def serving(port: int = 0) -> Iterator[tuple[Calls, int, Callable[[], None]]]:
    """Run a server; give its calls, its port, and what kills it."""
    calls = Calls()
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((calls,))
    found = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()

    def kill() -> None:
        server.stop(0).wait(LIMIT_S)

    try:
        yield calls, found, kill
    finally:
        calls.cancelled.set()
        kill()


@contextmanager
def channel(running: Running, folder: Path) -> Iterator[Any]:
    """Connect as a client that checks certificates."""
    credentials = grpc.ssl_channel_credentials((folder / "one.pem").read_bytes())
    with grpc.secure_channel(
        f"127.0.0.1:{running.https}",
        credentials,
        (
            ("grpc.ssl_target_name_override", "app.example.com"),
            ("grpc.max_receive_message_length", -1),
            ("grpc.default_authority", "app.example.com"),
            ("grpc.enable_http_proxy", 0),
        ),
    ) as one:
        yield one


def method(one: Any, name: str, kind: str = "unary_unary") -> Any:
    return getattr(one, kind)(f"/test.Test/{name}")


async def call(
    running: Running, folder: Path, talk: Callable[[Any], None], port: int
) -> None:
    await running.serve(
        Upstream("replica", Address("127.0.0.1", port)), options=OPTIONS
    )

    def begin() -> None:
        with channel(running, folder) as one:
            talk(one)

    await in_thread(begin)


async def test_unary_calls(start_http2: Starter, tmp_path: Path) -> None:
    """Metadata both ways, binary trailers, 2 MiB, many at once; one connection."""
    running = start_http2()

    def talk(one: Any) -> None:
        echo = method(one, "echo")
        answer, done = echo.with_call(b"hi", timeout=LIMIT_S, metadata=(("x-a", "1"),))
        assert answer == b"hi"
        assert dict(done.initial_metadata())["x-head"] == "1"
        assert dict(done.trailing_metadata())["x-tail-bin"] == b"\x00\xff"
        large = b"x" * 2 * 1024 * 1024
        assert echo(large, timeout=LIMIT_S) == large
        waiting = [echo.future(b"%d" % n, timeout=LIMIT_S) for n in range(100)]
        assert [one.result() for one in waiting] == [b"%d" % n for n in range(100)]

    with serving() as (_, port, _):
        await call(running, tmp_path, talk, port)
        (pool,) = running.proxy._switch.pools.values()
        assert len(pool.trunks) == 1
        assert pool.outstanding == 0
    assert {record.status for record in running.records} == {200}
    assert {record.upstream for record in running.records} == {"replica"}


async def test_errors_have_their_status(start_http2: Starter, tmp_path: Path) -> None:
    """Trailers-only, with a message that is not ASCII; an unknown method."""
    running = start_http2()

    def talk(one: Any) -> None:
        with pytest.raises(grpc.RpcError) as caught:
            method(one, "fail")(b"", timeout=LIMIT_S)
        failed: Any = caught.value
        assert failed.code() is grpc.StatusCode.NOT_FOUND
        assert failed.details() == "nö, nicht da"
        with pytest.raises(grpc.RpcError) as caught:
            method(one, "nothing")(b"", timeout=LIMIT_S)
        failed = caught.value
        assert failed.code() is grpc.StatusCode.UNIMPLEMENTED

    with serving() as (_, port, _):
        await call(running, tmp_path, talk, port)


async def test_streams_in_every_direction(start_http2: Starter, tmp_path: Path) -> None:
    """30 MB down, 10 MB up, two hundred words back and forth."""
    running = start_http2()

    def talk(one: Any) -> None:
        down = method(one, "down", "unary_stream")(b"300", timeout=60)
        assert sum(len(piece) for piece in down) == 30_000_000
        up = method(one, "up", "stream_unary")
        assert up((b"x" * 100_000 for _ in range(100)), timeout=60) == b"10000000"
        said: list[bytes] = []
        more = threading.Semaphore(1)

        def words() -> Iterator[bytes]:
            for n in range(200):
                assert more.acquire(timeout=LIMIT_S)
                yield b"word %d" % n

        for answer in method(one, "talk", "stream_stream")(words(), timeout=60):
            said.append(answer)
            more.release()
        assert said == [b"WORD %d" % n for n in range(200)]

    with serving() as (_, port, _):
        await call(running, tmp_path, talk, port)
    assert running.proxy._switch.waits == 0


async def test_a_slow_reader_holds_nobody_up(
    start_http2: Starter, tmp_path: Path
) -> None:
    """Neither memory nor the calls beside it."""
    running = start_http2()

    def talk(one: Any) -> None:
        slow = method(one, "down", "unary_stream")(b"300", timeout=60)
        next(slow)
        for _ in range(20):
            assert method(one, "echo")(b"beside", timeout=LIMIT_S) == b"beside"
        assert running.proxy._switch.waits < 1_000_000
        slow.cancel()

    with serving() as (_, port, _):
        await call(running, tmp_path, talk, port)


@pytest.mark.parametrize("how", ["deadline", "cancel"])
async def test_the_end_of_a_call_reaches_the_server(
    start_http2: Starter, tmp_path: Path, how: str
) -> None:
    """A deadline, a cancel; the connection is used again."""
    running = start_http2()

    with serving() as (calls, port, _):

        def talk(one: Any) -> None:
            hang = method(one, "hang").future(
                b"", timeout=0.5 if how == "deadline" else LIMIT_S
            )
            assert calls.hanging.wait(LIMIT_S)
            if how == "cancel":
                hang.cancel()
            else:
                assert hang.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            assert calls.cancelled.wait(LIMIT_S)
            assert method(one, "echo")(b"again", timeout=LIMIT_S) == b"again"

        await call(running, tmp_path, talk, port)
        (pool,) = running.proxy._switch.pools.values()
        assert len(pool.trunks) == 1


async def test_a_replica_that_dies_in_a_stream(
    start_http2: Starter, tmp_path: Path
) -> None:
    """UNAVAILABLE, before and after the first message; the next call works."""
    running = start_http2()

    with serving() as (_, port, kill):

        def talk(one: Any) -> None:
            stream = method(one, "talk", "stream_stream")
            go_on = threading.Event()

            def words() -> Iterator[bytes]:
                yield b"one"
                go_on.wait(LIMIT_S)

            answers = stream(words(), timeout=60)
            assert next(answers) == b"ONE"
            kill()
            with pytest.raises(grpc.RpcError) as caught:
                next(answers)
            go_on.set()
            failed: Any = caught.value
            assert failed.code() is grpc.StatusCode.UNAVAILABLE
            with pytest.raises(grpc.RpcError) as caught:
                method(one, "echo")(b"", timeout=LIMIT_S)
            failed = caught.value
            assert failed.code() is grpc.StatusCode.UNAVAILABLE
            with serving(port):
                end_s = time.monotonic() + LIMIT_S
                while True:
                    try:
                        assert method(one, "echo")(b"back", timeout=LIMIT_S) == b"back"
                        break
                    except grpc.RpcError:
                        assert time.monotonic() < end_s

        await call(running, tmp_path, talk, port)


async def test_other_clients_are_served_too(
    start_http2: Starter, tmp_path: Path
) -> None:
    """The same answer for a client of HTTP/1.1, whose body may have any framing."""
    running = start_http2()
    fields = [("content-type", "application/grpc"), ("te", "trailers")]
    message = b"\0\0\0\0\3abc"

    def talk() -> None:
        found = H2Client(running.https).get(
            "/test.Test/echo", method="POST", fields=fields, body=message
        )
        assert (found.status, found.body) == (200, message)
        assert dict(found.trailers)["grpc-status"] == "0"
        old = tls_peer(running.https, protocols=("http/1.1",))
        head = (
            b"POST /test.Test/echo HTTP/1.1\r\nHost: app.example.com\r\n"
            b"Content-Type: application/grpc\r\nTE: trailers\r\n"
        )
        for body in (
            b"Content-Length: 8\r\n\r\n" + message,
            b"Transfer-Encoding: chunked\r\n\r\n8\r\n" + message + b"\r\n0\r\n\r\n",
        ):
            old.send(head + body)
            status, _, answer = old.response()
            assert (status, answer) == (200, message)

    with serving() as (_, port, _):
        await running.serve(
            Upstream("replica", Address("127.0.0.1", port)), options=OPTIONS
        )
        await in_thread(talk)
        switch = running.proxy._switch
        (pool,) = switch.pools.values()
        await until(lambda: pool.outstanding == 0)
        # A replica that leaves keeps no connection.
        await running.serve()
        await until(lambda: not pool.trunks)


async def test_a_call_whose_app_goes_is_unavailable(start_http2: Starter) -> None:
    """The client has what came, and trailers that say so, not a reset."""
    running = start_http2()

    def script(peer: Peer) -> None:
        engine = Engine(client=False, now_s=0.0)
        peer.send(engine.take())
        while data := peer.recv():
            for kind, stream, _ in engine.receive(data, 0.0):
                if kind == ENDED_REQUEST:
                    head = [
                        (b":status", b"200"),
                        (b"content-type", b"application/grpc"),
                    ]
                    engine.headers(stream, encode(head), end=False)
                    engine.data(stream, b"half", end=False)
                    peer.send(engine.take())
                    return
            peer.send(engine.take())

    def talk() -> Answer:
        client = H2Client(running.https)
        fields = [("content-type", "application/grpc"), ("te", "trailers")]
        return client.get("/test.Test/echo", method="POST", fields=fields)

    with backend(script) as app:
        await running.serve(app, options=OPTIONS)
        answer = await in_thread(talk)
    assert (answer.status, answer.body, answer.reset) == (200, b"half", None)
    assert answer.trailers == [("grpc-status", "14")]
    assert [record.outcome for record in running.records] == ["cut"]
