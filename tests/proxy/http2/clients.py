"""Clients of HTTP/2 with real sockets: one of the h2 package, one of frames."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from haloy.proxy.http2 import frames
from tests.proxy.http2.support import GET, Fields, Frame, decode, frame, head
from tests.proxy.support import Peer, connect

NAME = "app.example.com"


def tls_peer(
    port: int, name: str | None = NAME, protocols: Sequence[str] = ("h2",)
) -> Peer:
    """Return a connection whose handshake has chosen the first protocol."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    plain = connect(port).socket
    Peer.opened.remove(plain)
    tls = context.wrap_socket(plain, server_hostname=name)
    assert tls.selected_alpn_protocol() == protocols[0]
    return Peer(tls)


@define
class Answer:
    """What came on one stream."""

    status: int = 0
    fields: list[tuple[str, str]] = field(factory=list)
    interim: list[list[tuple[str, str]]] = field(factory=list)
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(factory=list)
    ended: bool = False
    reset: int | None = None

    def value(self, name: str) -> str:
        return dict(self.fields)[name]


class H2Client:
    """A blocking client by the h2 package."""

    def __init__(
        self, port: int, name: str = NAME, *, window: int = 65535, named: bool = True
    ) -> None:
        """C{named}: the handshake says for which name the connection is."""
        self.peer = tls_peer(port, name if named else None)
        self.name = name
        config = h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        self.h2 = h2.connection.H2Connection(config)
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.closed = False
        self.answered = False
        #: Whether windows are opened again when bodies come.
        self.takes = True
        self.h2.initiate_connection()
        if window != 65535:
            self.h2.update_settings(
                {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.flush()

    def flush(self) -> None:
        self.peer.send(self.h2.data_to_send())

    def ask(
        self,
        path: str = "/",
        method: str = "GET",
        fields: Fields = (),
        body: bytes | None = b"",
    ) -> int:
        """Send a request; C{None}: its body comes later."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answer()
        pseudo: list[Any] = [
            (":method", method),
            (":scheme", "https"),
            # As browsers do: it would only fill the table.
            hpack.NeverIndexedHeaderTuple(":path", path),
            (":authority", self.name),
        ]
        self.h2.send_headers(stream, [*pseudo, *fields], end_stream=body == b"")
        self.flush()
        if body:
            self.upload(stream, body)
        return stream

    def upload(self, stream: int, body: bytes, *, end: bool = True) -> None:
        while body and not self.answers[stream].ended:
            room = min(
                self.h2.local_flow_control_window(stream),
                self.h2.max_outbound_frame_size,
            )
            if room <= 0:
                self.step()
                continue
            self.h2.send_data(stream, body[:room])
            body = body[room:]
            self.flush()
        if end and self.answers[stream].reset is None:
            self.h2.end_stream(stream)
            self.flush()

    def step(self) -> None:
        """Take what has come."""
        data = self.peer.recv()
        if not data:
            self.closed = True
            return
        for event in self.h2.receive_data(data):
            self._take(event)
        self.flush()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = int(event.error_code or 0)
            return
        if isinstance(event, h2.events.PingAckReceived):
            self.answered = True
            return
        answer = self.answers.get(getattr(event, "stream_id", 0) or 0, Answer())
        if isinstance(event, h2.events.InformationalResponseReceived):
            answer.interim.append(_text(event.headers))
        elif isinstance(event, h2.events.ResponseReceived):
            answer.fields = _text(event.headers)
            answer.status = int(answer.value(":status"))
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            if self.takes and event.flow_controlled_length:
                self.h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = _text(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset):
            answer.ended = True
            answer.reset = int(event.error_code)

    def until(self, done: Callable[[], bool]) -> None:
        while not done() and not self.closed:
            self.step()

    def answer(self, stream: int) -> Answer:
        """Wait for the whole answer."""
        found = self.answers[stream]
        self.until(lambda: found.ended)
        return found

    def get(self, path: str = "/", **rest: object) -> Answer:
        return self.answer(self.ask(path, **rest))  # type: ignore[arg-type]  # a test

    def ping(self) -> None:
        """Wait until everything that was sent has been read."""
        self.answered = False
        self.h2.ping(b"12345678")
        self.flush()
        self.until(lambda: self.answered)

    def cancel(self, stream: int) -> None:
        self.h2.reset_stream(stream, frames.CANCEL)
        self.flush()

    def close(self) -> None:
        self.peer.close()


def _text(headers: object) -> list[tuple[str, str]]:
    return [(str(n), str(v)) for n, v in headers]  # type: ignore[attr-defined]  # h2's


class RawClient:
    """A client that sends any frames and sees what comes back."""

    def __init__(
        self,
        port: int,
        *,
        settings: bytes = b"",
        greet: bool = True,
        name: str = NAME,
    ) -> None:
        self.peer = tls_peer(port, name)
        self.goaway: int | None = None
        if greet:
            self.peer.send(frames.PREFACE + frame(frames.SETTINGS, 0, 0, settings))
            self.peer.send(frames.SETTINGS_ACK)

    def send(self, *data: bytes) -> None:
        self.peer.send(b"".join(data))

    def get(self, stream: int, path: str = "/") -> bytes:
        return head(stream, [(n, path if n == ":path" else v) for n, v in GET])

    def frame(self) -> Frame | None:
        """Return the next frame, C{None} at the end."""
        start = self.peer.exactly(9)
        if len(start) < 9:
            return None
        length, flags, stream = frames.HEADER.unpack(start)
        body = self.peer.exactly(length >> 8)
        found = Frame(length & 0xFF, flags, stream, body)
        if found.kind == frames.GOAWAY:
            self.goaway = frames.NUMBER.unpack_from(body, 4)[0]
        return found

    def until(self, kind: int, stream: int | None = None) -> Frame:
        """Return the next frame of C{kind}; the end fails."""
        while True:
            found = self.frame()
            assert found is not None, f"the end came before {kind}"
            if found.kind == kind and stream in (None, found.stream):
                return found

    def status(self, stream: int) -> str:
        return dict(decode(self.until(frames.HEADERS, stream).body))[":status"]

    def statuses(self, *streams: int) -> list[str]:
        """Return the statuses of answers that may come in any order."""
        found: dict[int, str] = {}
        while not found.keys() >= set(streams):
            one = self.until(frames.HEADERS)
            found[one.stream] = dict(decode(one.body))[":status"]
        return [found[stream] for stream in streams]

    def end(self) -> int | None:
        """Wait for the end; return the code of GOAWAY."""
        try:
            while self.frame() is not None:
                pass
        except TimeoutError:
            raise
        except OSError:
            return self.goaway
        self.peer.close()
        return self.goaway


async def until(condition: Callable[[], bool], limit_s: float = 20.0) -> None:
    """Let the reactor turn until C{condition} holds."""
    from twisted.internet import reactor  # noqa: PLC0415, TID251 - once installed

    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s, "it did not come about"
        await deferLater(cast(IReactorTime, reactor), 0.02)
