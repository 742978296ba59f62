"""Raw peers for the proxy: they run in threads and speak bytes, not HTTP."""

from __future__ import annotations

import datetime as dt
import errno
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.threads import deferToThread

from haloy.model.app import Address, Domain, ProxyOptions, UnixAddress
from haloy.model.certificate import Certificate, Challenge, Secret
from haloy.model.names import AppName, DomainName
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table

WAIT_S = 20.0

T = TypeVar("T")


def in_thread(function: Callable[..., T], *args: Any) -> Awaitable[T]:
    """Run a blocking peer beside the reactor."""
    return deferToThread(function, *args)


class Peer:
    """One end of a connection, blocking, with a limit on every wait."""

    opened: ClassVar[list[socket.socket]] = []

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.buffer = b""
        connection.settimeout(WAIT_S)
        self.opened.append(connection)

    @classmethod
    def close_all(cls) -> None:
        """Close what tests have left open."""
        while cls.opened:
            cls.opened.pop().close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def recv(self, size: int = 65536) -> bytes:
        """Return bytes; empty at the end. A reset raises."""
        if self.buffer:
            data, self.buffer = self.buffer[:size], self.buffer[size:]
            return data
        return self.socket.recv(size)

    def until(self, mark: bytes) -> bytes:
        """Return everything up to and including C{mark}; what is there at the end."""
        data = self.buffer
        while mark not in data:
            more = self.socket.recv(65536)
            if not more:
                self.buffer = b""
                return data
            data += more
        end = data.index(mark) + len(mark)
        self.buffer = data[end:]
        return data[:end]

    def head(self) -> bytes:
        return self.until(b"\r\n\r\n")

    def exactly(self, size: int) -> bytes:
        pieces = [self.buffer]
        left = size - len(self.buffer)
        while left > 0:
            more = self.socket.recv(65536)
            if not more:
                break
            pieces.append(more)
            left -= len(more)
        data = b"".join(pieces)
        self.buffer = data[size:]
        return data[:size]

    def response(self, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """Return status, fields and body of one whole answer."""
        head = self.head()
        status, fields = parse_head(head)
        if method == "HEAD" or status in (204, 304) or status < 200:
            return status, fields, b""
        if fields.get("transfer-encoding") == "chunked":
            return status, fields, self.chunked()
        if "content-length" in fields:
            return status, fields, self.exactly(int(fields["content-length"]))
        return status, fields, self.rest()

    def chunked(self) -> bytes:
        body = b""
        while True:
            line = self.until(b"\r\n")
            size = int(line.strip() or b"0", 16)
            if not size:
                self.until(b"\r\n")
                return body
            body += self.exactly(size)
            self.exactly(2)

    def rest(self) -> bytes:
        """Return everything up to the end."""
        data, self.buffer = self.buffer, b""
        while True:
            more = self.socket.recv(65536)
            if not more:
                return data
            data += more

    def is_closed(self) -> bool:
        """Wait for the end; tell whether it came, in order or by a reset."""
        try:
            return self.recv() == b""
        except OSError as error:
            return not isinstance(error, TimeoutError)

    def answer_to_upload(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send C{body} as long as anybody takes it; close when an answer has come."""

        def upload() -> None:
            with suppress(OSError):
                self.socket.sendall(body)

        sender = threading.Thread(target=upload)
        sender.start()
        answer = self.response()
        self.close()
        sender.join(10)
        return answer

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


def asks_after_s(connection: socket.socket) -> int:
    """Return after how long TCP takes a silent peer for dead, 0 for never."""
    if not connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
        return 0
    idle, every, times = (
        connection.getsockopt(socket.IPPROTO_TCP, option)
        for option in (
            socket.TCP_KEEPIDLE,
            socket.TCP_KEEPINTVL,
            socket.TCP_KEEPCNT,
        )
    )
    return idle + every * times


def parse_head(head: bytes) -> tuple[int, dict[str, str]]:
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1])
    fields = {}
    for line in lines[1:]:
        if line:
            name, _, value = line.partition(":")
            fields[name.lower()] = value.strip()
    return status, fields


class Backend:
    """An upstream whose connections are served by a script, each in a thread."""

    def __init__(
        self,
        script: Callable[[Peer], None],
        path: Path | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        self.script = script
        self.connections = 0
        self.errors: list[BaseException] = []
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self.address: Address | UnixAddress
        if path is None:
            self._listening = listening or socket.create_server(
                ("127.0.0.1", 0), backlog=1024
            )
            self.address = Address(*self._listening.getsockname()[:2])
        else:
            self._listening = socket.socket(socket.AF_UNIX)
            self._listening.bind(str(path))
            self._listening.listen(16)
            self.address = UnixAddress(str(path))
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError as error:
                if error.errno == errno.EMFILE:
                    # A test that uses up the descriptors of this process.
                    threading.Event().wait(0.01)
                    continue
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(
                target=self._serve, args=(connection,), daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.script(Peer(connection))
            except OSError:
                return
            except BaseException as error:
                self.errors.append(error)

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._accepting.join(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)


@contextmanager
def backend(
    script: Callable[[Peer], None],
    path: Path | None = None,
    listening: socket.socket | None = None,
) -> Iterator[Backend]:
    """Run one: at C{path}, on C{listening}, or on a port of its own."""
    running = Backend(script, path, listening)
    try:
        yield running
    finally:
        running.close()
    assert not running.errors


def answering(answer: bytes) -> Callable[[Peer], None]:
    """Return a script that gives the same answer to every request without a body."""

    def script(peer: Peer) -> None:
        while peer.head():
            peer.send(answer)

    return script


def echoing(peer: Peer) -> None:
    """Answer every request with its own head and body."""
    while True:
        head = peer.head()
        if not head:
            return
        fields = parse_head(b"x 1\r\n" + head)[1]
        body = b""
        if fields.get("transfer-encoding") == "chunked":
            body = peer.chunked()
        elif "content-length" in fields:
            body = peer.exactly(int(fields["content-length"]))
        answer = head + body
        peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer)
        )


def upstream_of(one: Backend | Upstream) -> Upstream:
    if isinstance(one, Upstream):
        return one
    return Upstream(f"replica-{id(one)}", one.address)


def table_of(
    *backends: Backend | Upstream,
    domain: str = "app.example.com",
    aliases: Sequence[str] = (),
    options: ProxyOptions | None = None,
    api: Backend | None = None,
    generation: int = 1,
) -> RouteTable:
    """Return a table with one app served by C{backends}."""
    app = RoutedApp(
        AppName("app"),
        (Domain(DomainName(domain), tuple(DomainName(name) for name in aliases)),),
        tuple(upstream_of(one) for one in backends),
        options or ProxyOptions(),
    )
    door = None
    if api is not None:
        door = (DomainName("api.example.com"), api.address)
    table, conflicts = build_table(generation, door, [app])
    assert not conflicts
    return table


def connect(port: int, source: str | None = None) -> Peer:
    address = (source, 0) if source else None
    return Peer(
        socket.create_connection(("127.0.0.1", port), WAIT_S, source_address=address)
    )


def ask(port: int, target: str = "/") -> tuple[int, bytes]:
    """Ask once on a connection of its own; return status and body."""
    peer = connect(port)
    peer.send(get(target=target))
    status, _, body = peer.response()
    peer.close()
    return status, body


def get(host: str = "app.example.com", target: str = "/", **fields: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def make_certificate(*names: str) -> tuple[bytes, bytes]:
    """Return certificate and key as PEM, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


class OneContext:
    """TLS with one certificate for every name."""

    def __init__(self, folder: Path, protocols: Sequence[str] = ("http/1.1",)) -> None:
        chain, key = make_certificate("app.example.com", "*.example.com", "localhost")
        path = folder / "one.pem"
        path.write_bytes(key + chain)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(path)
        self.context.set_alpn_protocols(list(protocols))
        self.context.sni_callback = self._remember
        self.replaced: list[tuple[Certificate, ...]] = []
        self.renewed = 0

    def _remember(
        self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext
    ) -> None:
        connection.picked_name = name  # type: ignore[attr-defined]  # as tls.py does

    def server_name(self, connection: ssl.SSLSocket) -> str | None:
        return getattr(connection, "picked_name", None)

    def replace(self, certificates: tuple[Certificate, ...]) -> None:
        self.replaced.append(certificates)

    def present_alpn(self, challenge: Challenge) -> None:
        raise AssertionError("not used here")

    def renew(self, keys: Secret | None = None) -> None:
        self.renewed += 1

    def withdraw_alpn(self, challenge: Challenge) -> None:
        raise AssertionError("not used here")


def connect_tls(port: int, name: str | None = "app.example.com") -> Peer:
    return tls_on(socket.create_connection(("127.0.0.1", port), WAIT_S), name)


def tls_on(connection: socket.socket, name: str | None = "app.example.com") -> Peer:
    """Return a client of TLS on C{connection} that believes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return Peer(context.wrap_socket(connection, server_hostname=name))
