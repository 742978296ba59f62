"""Compare the CPU that our proxy and nginx spend, in the same run.

usage: python -m bench.compare [--rounds N] [--seconds S] [--only CASE,...] [--stock]
       python bench/compare.py --whole --rounds 5 [--only CASE,...] [--forms FORM]

The first compares nginx and what is in this tree, as it is written. The second is
the whole table, with HAProxy and Caddy where they are: C{--forms interpreted} is the
tree as it is written, C{--forms compiled} a wheel of it whose hot modules are compiled
(built into a temporary folder; a C compiler and mypy are needed), and without the
option both are measured in the same rounds. See L{bench.whole}.

Both are given the same load in turn, round after round; what counts is user and
system time of the proxy's processes for each request, message or megabyte, median
over the rounds. Read ratios below 1.25 as equal: the machine is shared.
Needs nginx, wrk and h2load. Nothing here is a test: the figures depend on the host.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from attrs import define

HOST = "app.example.com"
MIB = 1048576


@define
class Target:
    name: str
    pid: int
    http: int
    https: int

    def cpu_s(self) -> float:
        """Return the processor time of all threads, to the nanosecond."""
        total = 0
        for pid in [self.pid, *children(self.pid)]:
            for thread in Path(f"/proc/{pid}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
        return total / 1e9

    def pss_mib(self) -> float:
        total = 0
        for pid in [self.pid, *children(self.pid)]:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            match = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
            total += int(match.group(1)) if match else 0
        return total / 1024


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)  # noqa: TID251 - a script, no reactor
        else:
            return
    raise SystemExit(f"nothing listens on {port}")


NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 16384; }}
http {{
  access_log {log}; keepalive_requests 10000000; client_max_body_size 0;
  server_names_hash_max_size 4096; server_names_hash_bucket_size 128;
  client_body_temp_path {folder}/{name}-body; proxy_temp_path {folder}/{name}-proxy;
  fastcgi_temp_path {folder}/x1; uwsgi_temp_path {folder}/x2;
  scgi_temp_path {folder}/x3;
  map $http_upgrade $upgrading {{ default upgrade; '' ''; }}
  {body}
}}
"""

BACKEND = """
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}/www; }}
"""

FRONT = """
  ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3;
  ssl_ecdh_curve X25519; ssl_session_cache shared:s:10m; ssl_session_tickets on;
  upstream app {{ server 127.0.0.1:{app}; keepalive 128; keepalive_requests 10000000; }}
  upstream up {{ server 127.0.0.1:{up}; keepalive 8; }}
  upstream ws {{ server 127.0.0.1:{ws}; }}
  proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection "";
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  server {{ listen 127.0.0.1:{http} backlog=4096; listen 127.0.0.1:{https} ssl;
    server_name app.example.com {more}; location / {{ proxy_pass http://app; }} }}
  server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
    server_name up.example.com;
    location / {{ proxy_pass http://up; proxy_request_buffering off; }} }}
  server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
    server_name ws.example.com;
    location / {{ proxy_pass http://ws; proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection $upgrading; }} }}
"""


class Stage:
    """Backend, nginx and our proxy, on loopback."""

    def __init__(self, folder: Path, stock: bool, ours: bool = True) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        (folder / "www").mkdir()
        (folder / "www" / "1k").write_bytes(b"x" * 1024)
        (folder / "www" / "100k").write_bytes(b"x" * 102400)
        (folder / "www" / "10m").write_bytes(b"x" * 10 * MIB)
        self.pem = folder / "one.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key.pem",
             "-out", folder / "cert.pem", "-days", "2", "-subj", f"/CN={HOST}",
             "-addext", f"subjectAltName=DNS:{HOST},DNS:*.example.com"],
            check=True, capture_output=True,
        )  # fmt: skip
        self.pem.write_bytes(
            (folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes()
        )
        self.app, self.ws = free_port(), thread_server(echo)
        self.up = thread_server(swallow)
        self._nginx("backend", BACKEND.format(port=self.app, folder=folder), "off")
        wait_for(self.app)
        self.targets = [self._front_nginx()]
        if ours:
            self.targets.append(self._ours(stock))

    def _nginx(self, name: str, body: str, log: str) -> subprocess.Popen[bytes]:
        conf = self.folder / f"{name}.conf"
        conf.write_text(NGINX.format(folder=self.folder, name=name, body=body, log=log))
        return self._run(["nginx", "-c", str(conf), "-p", str(self.folder)])

    def _front_nginx(self) -> Target:
        http, https = free_port(), free_port()
        more = " ".join(f"app{number}.example.com" for number in range(200))
        body = FRONT.format(
            more=more,
            pem=self.pem,
            app=self.app,
            ws=self.ws,
            up=self.up,
            http=http,
            https=https,
        )
        process = self._nginx("front", body, str(self.folder / "access.log"))
        wait_for(https)
        return Target("nginx", process.pid, http, https)

    def _ours(self, stock: bool, *more: str) -> Target:
        http, https = free_port(), free_port()
        process = self._run(
            [sys.executable, "-m", "bench.serve", str(http), str(https), str(self.app),
             str(self.ws), str(self.up), str(self.pem), *["stock"] * stock, *more]
        )  # fmt: skip
        wait_for(https)
        return Target("haloy", process.pid, http, https)

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command)
        self.processes.append(process)
        return process

    def close(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
            process.wait(10)


def thread_server(script: Callable[[socket.socket, bytes], None]) -> int:
    """Start a server that runs C{script} for each connection and the first head."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)

    def serve(connection: socket.socket) -> None:
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                more = connection.recv(65536)
                if not more:
                    return
                head += more
            script(connection, head)

    def accept() -> None:
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listening.getsockname()[1])


def echo(connection: socket.socket, head: bytes) -> None:
    """Take the upgrade, then echo; frames are not looked at."""
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\n\r\n"
    )
    while data := connection.recv(65536):
        connection.sendall(data)


def swallow(connection: socket.socket, head: bytes) -> None:
    """Take uploads with a length, one after the other."""
    space = bytearray(MIB)
    while head:
        told, _, body = head.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: *(\d+)", told.lower())
        left = int(length.group(1) if length else 0) - len(body)
        while left > 0:
            got = connection.recv_into(space)
            if not got:
                return
            left -= got
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        head = connection.recv(65536)


# Loads: each returns how many units it has moved. Of large downloads bytes count, not
# whole answers: each connection is inside of one when the time is over.


def wrk(
    target: Target, path: str, seconds: float, tls: bool, fields: tuple[str, ...] = ()
) -> float:
    if tls:
        return h2load(target, path, seconds, fields)
    many = 4 if path == "/10m" else 64
    command = ["wrk", "-t1", f"-c{many}", f"-d{seconds:g}s", "-H", f"Host: {HOST}"]
    for one in fields:
        command += ["-H", one]
    command.append(f"http://127.0.0.1:{target.http}{path}")
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in text:
        raise SystemExit(text)
    match = re.search(r"(\d+) requests in \S+ ([\d.]+)([KMG])B read", text)
    if match is None:
        return 0.0
    if path == "/10m":
        return float(match[2]) * 1024.0 ** "KMG".index(match[3]) / 10240
    return float(match[1])


def h2load(
    target: Target, path: str, seconds: float, fields: tuple[str, ...] = ()
) -> float:
    """Ask over TLS with HTTP/1.1; wrk sends no server name for an address."""
    text = subprocess.run(
        ["h2load", "--h1", "-t1", f"-c{4 if path == '/10m' else 64}",
         f"-D{round(seconds * 1000)}ms", *(f"--header={one}" for one in fields),
         f"--connect-to=127.0.0.1:{target.https}", f"https://{HOST}{path}"],
        check=True, capture_output=True, text=True,
        timeout=seconds + 60,  # it was seen to go on for ever on a busy machine
    ).stdout  # fmt: skip
    match = re.search(r"(\d+) succeeded, (\d+) failed", text)
    if match is None or int(match.group(1)) < 1:
        raise SystemExit(text)
    if path == "/10m":
        match = re.search(r"\((\d+)\) data", text)
        return float(match[1]) / (10 * MIB) if match else 0.0
    return float(match[1])


BROWSER = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://app.example.com/some/other/page",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1",
    "Upgrade-Insecure-Requests: 1",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
)


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def handshakes(
    target: Target, seconds: float, resumed: bool, asking: bool = True
) -> float:
    """Connect anew for each request, or only to shake hands and leave."""
    context = client_context()
    request = f"GET /1k HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode()
    session: ssl.SSLSession | None = None

    def visit(asks: bool) -> tuple[ssl.SSLSession | None, bool]:
        plain = socket.create_connection(("127.0.0.1", target.https))
        with context.wrap_socket(
            plain, server_hostname=HOST, session=session
        ) as visitor:
            reused = bool(visitor.session_reused)
            if asks:
                visitor.sendall(request)
            else:
                visitor.shutdown(socket.SHUT_WR)
            while visitor.recv(65536):
                pass
            return visitor.session, reused

    if resumed:
        session, _ = visit(True)
    count = again = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        newer, reused = visit(asking)
        if resumed and newer is not None:
            session = newer
        again += reused
        count += 1
    if resumed and again < count * 0.9:
        raise SystemExit(f"{target.name} resumed {again} of {count} sessions")
    return count


def upload(target: Target, seconds: float, tls: bool) -> float:
    head = (
        f"POST / HTTP/1.1\r\nHost: up.example.com\r\nContent-Length: {10 * MIB}\r\n\r\n"
    )
    body = b"x" * MIB
    connection: socket.socket = socket.create_connection(
        ("127.0.0.1", target.https if tls else target.http)
    )
    if tls:
        connection = client_context().wrap_socket(
            connection, server_hostname="up.example.com"
        )
    moved = 0
    until = time.monotonic() + seconds
    with connection:
        while time.monotonic() < until:
            connection.sendall(head.encode())
            for _ in range(10):
                connection.sendall(body)
            answer = connection.recv(65536)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(answer.decode("latin-1"))
            moved += 10
    return moved


def open_tunnel(target: Target, tls: bool) -> socket.socket:
    """Return a connection behind its 101."""
    connection: socket.socket = socket.create_connection(
        ("127.0.0.1", target.https if tls else target.http), 5
    )
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        connection = client_context().wrap_socket(
            connection, server_hostname="ws.example.com"
        )
    connection.sendall(
        b"GET / HTTP/1.1\r\nHost: ws.example.com\r\nConnection: Upgrade\r\n"
        b"Upgrade: websocket\r\n\r\n"
    )
    connection.recv(4096)
    return connection


def tunnel(target: Target, seconds: float, tls: bool) -> float:
    """Have 32 MiB after 32 MiB echoed; each MiB counts on both ways."""
    until = time.monotonic() + seconds
    block = b"x" * (32 * MIB)
    space = bytearray(MIB)
    moved = 0
    with open_tunnel(target, tls) as connection:
        while time.monotonic() < until:
            sender = threading.Thread(target=connection.sendall, args=(block,))
            sender.start()
            left = len(block)
            while left:
                got = connection.recv_into(space)
                if not got:
                    raise SystemExit(f"{target.name} lost {left} bytes")
                left -= got
            sender.join()
            moved += 64
    return moved


def messages(target: Target, seconds: float, tls: bool) -> float:
    counts = [0] * 32
    until = time.monotonic() + seconds

    def talk(index: int) -> None:
        with open_tunnel(target, tls) as connection:
            while time.monotonic() < until:
                connection.sendall(b"m" * 1024)
                got = 0
                while got < 1024:
                    more = connection.recv(4096)
                    if not more:
                        return
                    got += len(more)
                counts[index] += 1

    threads = [threading.Thread(target=talk, args=(i,)) for i in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not any(counts):
        raise SystemExit(f"{target.name} passes no WebSocket messages")
    return sum(counts)


CASES: dict[str, tuple[str, float, Callable[[Target, float], float]]] = {
    "GET 1 KiB": ("µs/request", 1e6, lambda t, s: wrk(t, "/1k", s, False)),
    "GET 1 KiB, browser's head": (
        "µs/request",
        1e6,
        lambda t, s: wrk(t, "/1k", s, False, BROWSER),
    ),
    "GET 1 KiB, browser's head, TLS": (
        "µs/request",
        1e6,
        lambda t, s: wrk(t, "/1k", s, True, BROWSER),
    ),
    "GET 100 KiB": ("µs/request", 1e6, lambda t, s: wrk(t, "/100k", s, False)),
    "GET 100 KiB, TLS": ("µs/request", 1e6, lambda t, s: wrk(t, "/100k", s, True)),
    "download 10 MiB": ("µs/MiB", 1e5, lambda t, s: wrk(t, "/10m", s, False)),
    "download 10 MiB, TLS": ("µs/MiB", 1e5, lambda t, s: wrk(t, "/10m", s, True)),
    "upload 10 MiB": ("µs/MiB", 1e6, lambda t, s: upload(t, s, False)),
    "upload 10 MiB, TLS": ("µs/MiB", 1e6, lambda t, s: upload(t, s, True)),
    "handshake": ("µs/connection", 1e6, lambda t, s: handshakes(t, s, False)),
    "handshake, resumed": ("µs/connection", 1e6, lambda t, s: handshakes(t, s, True)),
    "handshake alone": (
        "µs/connection",
        1e6,
        lambda t, s: handshakes(t, s, False, asking=False),
    ),
    "handshake alone, resumed": (
        "µs/connection",
        1e6,
        lambda t, s: handshakes(t, s, True, asking=False),
    ),
    "WebSocket message": ("µs/message", 1e6, lambda t, s: messages(t, s, False)),
    "WebSocket message, TLS": ("µs/message", 1e6, lambda t, s: messages(t, s, True)),
    "tunnel in bulk": ("µs/MiB", 1e6, lambda t, s: tunnel(t, s, False)),
}


def measure(stage: Stage, rounds: int, seconds: float, only: list[str]) -> None:
    results: dict[str, dict[str, list[float]]] = {}
    for name, (unit, scale, load) in CASES.items():
        if only and not any(word in name for word in only):
            continue
        costs: dict[str, list[float]] = {target.name: [] for target in stage.targets}
        for _ in range(rounds):
            for target in stage.targets:
                before = target.cpu_s()
                moved = load(target, seconds)
                spent = target.cpu_s() - before
                costs[target.name].append(spent / max(moved, 1) * scale)
        results[name] = costs
        nginx, ours = (statistics.median(costs[one.name]) for one in stage.targets)
        best = min(costs["haloy"])
        worst = max(costs["haloy"])
        print(
            f"{name:30} {unit:14} nginx {nginx:8.1f}   haloy {ours:8.1f}"
            f" [{best:.1f}-{worst:.1f}]   x {ours / nginx:.2f}",
            flush=True,
        )
    for target in stage.targets:
        print(f"memory of {target.name}: {target.pss_mib():.1f} MiB PSS")
    path = Path(__file__).parent / "last.json"
    path.write_text(json.dumps(results, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--stock", action="store_true", help="the stock reactor")
    parser.add_argument("--whole", action="store_true", help="all proxies, all forms")
    parser.add_argument("--forms", default="both", help="interpreted, compiled, both")
    given = parser.parse_args()
    if given.whole:
        sys.path.insert(0, str(Path(__file__).parents[1]))
        from bench.whole import run  # noqa: PLC0415 - it needs what is here

        only = [word for word in given.only.split(",") if word]
        run(given.rounds, given.seconds, only, given.forms)
        return
    folder = Path(tempfile.mkdtemp(prefix="haloy-bench-"))
    folder.chmod(0o755)  # nginx serves as nobody
    stage = None
    try:
        stage = Stage(folder, given.stock)
        only = [word for word in given.only.split(",") if word]
        measure(stage, given.rounds, given.seconds, only)
    finally:
        if stage is not None:
            stage.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
