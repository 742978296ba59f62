"""Compare the CPU that we, nginx and Caddy spend on HTTP/2 over TLS, in the same run.

usage: python -m bench.http2 [--rounds N] [--seconds S] [--only WORD] [--forms FORM]

As L{bench.compare}: user and system time of the proxy's processes for each answered
request. A ratio is the median of those of the rounds, with the least and the largest;
read ratios below 1.25 as equal. All write an access log to a file; nginx has one
worker, and keeps as many connections to the apps as are under way, but where it is
said to be as by default: there C{grpc_pass} connects for each call. Needs nginx and
h2load; Caddy is measured where it is. It tells of the Python that runs it: take the one
that servers have. C{--forms}: C{interpreted} (the tree as it is
written), C{compiled} or C{both}, as for L{bench.whole}.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from concurrent import futures
from pathlib import Path

import grpc
from attrs import frozen

from bench import compare
from bench.compare import HOST, MIB, Stage, Target, free_port, wait_for
from bench.whole import compiled, paths


@frozen
class Case:
    """What it is, connections, streams on each, the path ({n} makes it unique).

    C{body} is sent with each request; C{grpc}: it is a message for an app of gRPC.
    """

    name: str
    connections: int
    streams: int
    path: str
    host: str = HOST
    body: bytes = b""
    grpc: bool = False


CASES = (
    Case("GET 1 KiB, 4 x 25", 4, 25, "/1k"),
    Case("GET 1 KiB, unique paths, 4 x 25", 4, 25, "/1k?page={n}&q=abcdef"),
    Case("GET 1 KiB, 20 x 1", 20, 1, "/1k"),
    Case("GET 100 KiB, 4 x 10", 4, 10, "/100k"),
    Case("GET 10 MiB, 2 x 2", 2, 2, "/10m"),
    Case("POST 1 MiB, 4 x 2", 4, 2, "/", "up.example.com", b"x" * MIB),
    Case(
        "gRPC unary, 4 x 10", 4, 10, "/test.Test/echo", "grpc.example.com",
        b"\0\0\0\0\x20" + b"x" * 32, grpc=True,
    ),
    Case(
        "gRPC unary, nginx as by default", 4, 10, "/test.Test/echo",
        "default.example.com", b"\0\0\0\0\x20" + b"x" * 32, grpc=True,
    ),
)  # fmt: skip

GRPC_NGINX = """
  upstream grpc {{ server 127.0.0.1:GRPC; keepalive 128;
    keepalive_requests 10000000; }}
  server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl http2;
    server_name grpc.example.com; location / {{ grpc_pass grpc://grpc; }} }}
  server {{ listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl http2;
    server_name default.example.com;
    location / {{ grpc_pass grpc://127.0.0.1:GRPC; }} }}
"""
CADDY = """
{{
  admin off
  auto_https off
}}
https://app.example.com:{https}, https://up.example.com:{https},
https://grpc.example.com:{https}, https://default.example.com:{https} {{
  bind 127.0.0.1
  tls {folder}/cert.pem {folder}/key.pem
  log {{
    output file {folder}/caddy.log
  }}
  @up host up.example.com
  @grpc host grpc.example.com default.example.com
  reverse_proxy @up 127.0.0.1:{up}
  reverse_proxy @grpc h2c://127.0.0.1:{grpc}
  reverse_proxy 127.0.0.1:{app}
}}
"""


def grpc_server() -> tuple[grpc.Server, int]:
    """Start a server in this process that answers each call with its message."""
    server = grpc.server(futures.ThreadPoolExecutor(8))
    echo = grpc.unary_unary_rpc_method_handler(lambda message, _: message)
    handler = grpc.method_handlers_generic_handler("test.Test", {"echo": echo})
    server.add_generic_rpc_handlers((handler,))
    port: int = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


class Stage2(Stage):
    """With an app of gRPC, and Caddy beside where it is installed."""

    def __init__(self, folder: Path, forms: dict[str, Path | None]) -> None:
        self._server, self.grpc = grpc_server()
        compare.FRONT = compare.FRONT.replace("{https} ssl;", "{https} ssl http2;")
        compare.FRONT += GRPC_NGINX.replace("GRPC", str(self.grpc))
        try:
            super().__init__(folder, stock=False, ours=False)
            for name, where in forms.items():
                self.targets.append(self._form(name, where))
            if shutil.which("caddy"):
                self.targets.append(self._caddy())
        except BaseException:
            self._server.stop(None)
            raise

    def close(self) -> None:
        super().close()
        self._server.stop(None)

    def _form(self, name: str, where: Path | None) -> Target:
        http, https = free_port(), free_port()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bench.serve", str(http), str(https),
             str(self.app), str(self.ws), str(self.up), str(self.pem),
             f"grpc={self.grpc}", f"log={self.folder / name}.log"],
            env={**os.environ, **paths(where)},
        )  # fmt: skip
        self.processes.append(process)
        wait_for(https)
        return Target(name, process.pid, http, https)

    def _caddy(self) -> Target:
        https = free_port()
        text = CADDY.format(
            https=https, folder=self.folder, up=self.up, app=self.app, grpc=self.grpc
        )
        file = self.folder / "Caddyfile"
        file.write_text(text)
        process = subprocess.Popen(
            ["caddy", "run", "--adapter", "caddyfile", "--config", str(file)],
            env={**os.environ, "HOME": str(self.folder)},
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        wait_for(https)
        return Target("caddy", process.pid, 0, https)


def load(target: Target, folder: Path, case: Case, s: float) -> float:
    """Ask for C{s} seconds; return how many answers came."""
    urls = folder / "urls"
    count = 5000 if "{n}" in case.path else 1
    urls.write_text(
        "".join(f"https://{case.host}{case.path.format(n=n)}\n" for n in range(count))
    )
    command = ["h2load", "-t1", f"-c{case.connections}", f"-m{case.streams}"]
    command += [
        f"-D{round(s * 1000)}ms",
        f"--connect-to=127.0.0.1:{target.https}",
        "-i",
        str(urls),
    ]
    fields: tuple[str, ...] = compare.BROWSER
    if case.body:
        body = folder / "body"
        body.write_bytes(case.body)
        command += ["-d", str(body)]
    if case.grpc:
        fields = ("content-type: application/grpc", "te: trailers")
    for one in fields:
        name, _, value = one.partition(":")
        command += ["-H", f"{name.lower()}:{value}"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"(\d+) succeeded, (\d+) failed", text)
    if match is None or int(match.group(1)) < 4 or "protocol: h2\n" not in text:
        raise SystemExit(text)
    return float(match.group(1))


def compare_case(stage: Stage, case: Case, rounds: int, seconds: float) -> None:
    """Give all the same load in turn; print what it has cost."""
    costs: dict[str, list[float]] = {one.name: [] for one in stage.targets}
    for _ in range(rounds):
        for target in stage.targets:
            before = target.cpu_s()
            moved = load(target, stage.folder, case, seconds)
            spent = target.cpu_s() - before
            costs[target.name].append(spent / moved * 1e6)
    nginx = costs.pop("nginx")
    print(f"{case.name:34} nginx {statistics.median(nginx):7.0f} µs")
    for name, found in costs.items():
        ratios = [one / other for one, other in zip(found, nginx, strict=True)]
        print(
            f"  {name:32} {statistics.median(found):13.0f} µs"
            f"  x {statistics.median(ratios):.2f}"
            f"  [{min(ratios):.2f}-{max(ratios):.2f}]",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--forms", default="interpreted")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        forms: dict[str, Path | None] = {}
        if chosen.forms in ("both", "interpreted"):
            forms["interpreted"] = None
        if chosen.forms in ("both", "compiled") and (where := compiled(folder)):
            forms["compiled"] = where
        stage = Stage2(folder, forms)
        try:
            for case in CASES:
                if chosen.only in case.name:
                    compare_case(stage, case, chosen.rounds, chosen.seconds)
        finally:
            stage.close()


if __name__ == "__main__":
    main()
