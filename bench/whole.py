"""The whole table: nginx, HAProxy, Caddy and ours, interpreted and compiled, in turn.

Run by C{python bench/compare.py --whole}: five rounds of a second each, under
a quarter of an hour in all. What is not installed is left out; C{--forms interpreted}
needs no compiler. All write an access log to a file and know 200 apps.

A row has the median, its ratio to nginx's, and the least and the largest ratio of a
round in brackets. Behind ours stands what must be and what is aimed at, the reverse of
a limit where more is better.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from attrs import define, field

from bench.compare import (
    BROWSER,
    CASES,
    HOST,
    NGINX,
    Stage,
    Target,
    children,
    client_context,
    free_port,
    wait_for,
    wrk,
)
from bench.serve import table_of
from bench.wanted import WANTED, Wanted
from haloy.proxy.control.changes import unread_table
from haloy.proxy.split.state_files import KeptFiles

ROOT = Path(__file__).parents[1]
IDLE = 500

HAPROXY = """
global
  nbthread 1
  maxconn 8192
  log fd@1 format raw daemon
defaults
  mode http
  log global
  option httplog
  timeout client 60s
  timeout server 60s
  timeout connect 5s
  timeout tunnel 60s
  http-reuse always
frontend f
  bind 127.0.0.1:{http}
  bind 127.0.0.1:{https} ssl crt {pem} alpn http/1.1
  option forwardfor
  use_backend %[req.hdr(host),word(1,:),map({map},app)]
backend app
  server a 127.0.0.1:{app}
backend ws
  server a 127.0.0.1:{ws}
backend up
  server a 127.0.0.1:{up}
"""


def caddy_config(stage: Stage, http: int, https: int, log: Path) -> str:
    def route(host: str, port: int) -> dict[str, object]:
        names = [host] + [f"app{n}.example.com" for n in range(200)] * (host == HOST)
        proxy = {
            "handler": "reverse_proxy",
            "upstreams": [{"dial": f"127.0.0.1:{port}"}],
        }
        return {"match": [{"host": names}], "handle": [proxy]}

    routes = [
        route(HOST, stage.app),
        route("ws.example.com", stage.ws),
        route("up.example.com", stage.up),
    ]
    off: dict[str, object] = {"automatic_https": {"disable": True}, "routes": routes}
    logged = {**off, "logs": {}}
    files = [
        {
            "certificate": str(stage.folder / "cert.pem"),
            "key": str(stage.folder / "key.pem"),
        }
    ]
    return json.dumps(
        {
            "admin": {"disabled": True},
            "logging": {
                "logs": {
                    "default": {
                        "writer": {"output": "file", "filename": str(log)},
                        "level": "INFO",
                    }
                }
            },
            "apps": {
                "http": {
                    "servers": {
                        "plain": {**logged, "listen": [f"127.0.0.1:{http}"]},
                        "tls": {
                            **logged,
                            "listen": [f"127.0.0.1:{https}"],
                            "protocols": ["h1"],
                            "tls_connection_policies": [{"alpn": ["http/1.1"]}],
                        },
                    }
                },
                "tls": {"certificates": {"load_files": files}},
            },
        }
    )


@define(eq=False)
class Peers:
    """All the proxies beside the two of L{Stage}."""

    stage: Stage
    targets: list[Target] = field(factory=list)
    logs: list[object] = field(factory=list)

    def haproxy(self) -> None:
        if shutil.which("haproxy") is None:
            return
        http, https = free_port(), free_port()
        folder = self.stage.folder
        names = "".join(f"app{n}.example.com app\n" for n in range(200))
        (folder / "map").write_text(f"{names}ws.example.com ws\nup.example.com up\n")
        conf = folder / "haproxy.cfg"
        conf.write_text(
            HAPROXY.format(
                http=http, https=https, pem=self.stage.pem, map=folder / "map",
                app=self.stage.app, ws=self.stage.ws, up=self.stage.up,
            )
        )  # fmt: skip
        self._run("haproxy", ["haproxy", "-db", "-f", str(conf)], http, https)

    def caddy(self) -> None:
        if shutil.which("caddy") is None:
            return
        http, https = free_port(), free_port()
        conf = self.stage.folder / "caddy.json"
        log = self.stage.folder / "caddy.log"
        conf.write_text(caddy_config(self.stage, http, https, log))
        command = ["caddy", "run", "--config", str(conf)]
        self._run("caddy", command, http, https, {"HOME": str(self.stage.folder)})

    def ours(self, name: str, where: Path | None) -> None:
        http, https = free_port(), free_port()
        stage = self.stage
        self._run(
            name,
            [sys.executable, "-P", "-m", "bench.serve", str(http), str(https),
             str(stage.app), str(stage.ws), str(stage.up), str(stage.pem),
             f"log={stage.folder / name}.log"],
            http, https, paths(where),
        )  # fmt: skip

    def _run(
        self,
        name: str,
        command: list[str],
        http: int,
        https: int,
        more: dict[str, str] | None = None,
    ) -> None:
        output = (self.stage.folder / f"{name}.out").open("wb")
        self.logs.append(output)
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **(more or {})}
        )
        self.stage.processes.append(process)
        wait_for(https)
        self.targets.append(Target(name, process.pid, http, https))


def paths(where: Path | None) -> dict[str, str]:
    """Return the environment in which the modules of C{where} come first."""
    found = [str(ROOT)] if where is None else [str(where), str(ROOT)]
    return {"PYTHONPATH": os.pathsep.join(found)}


def compiled(folder: Path) -> Path | None:
    """Build the compiled wheel and unpack it; C{None} where that cannot be."""
    where = folder / "compiled"
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps",
         "--no-build-isolation", "--target", str(where), str(ROOT)],
        env={**os.environ, "HALOY_COMPILED": "1"}, check=False,
    )  # fmt: skip
    if done.returncode or not list((where / "haloy" / "proxy").glob("exchange*.so")):
        print("no compiled form: it could not be built")
        return None
    return where


# --- what is measured ---------------------------------------------------------------


def p99_ms(target: Target, folder: Path, seconds: float) -> float:
    """Return the 99th percentile at 2,000 requests a second, 50 connections."""
    log = folder / "latency.log"
    log.unlink(missing_ok=True)
    subprocess.run(
        ["h2load", "--h1", "-t1", "-c50", "--rps=40", f"-D{round(seconds * 1000)}ms",
         f"--log-file={log}", f"--connect-to=127.0.0.1:{target.http}",
         f"http://{HOST}/1k"],
        check=True, capture_output=True,
    )  # fmt: skip
    taken = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    return taken[int(len(taken) * 0.99)] / 1000 if taken else 0.0


def idle_kib(target: Target, tls: bool) -> float:
    """Return the memory of an idle connection: kept alive, or a WebSocket over TLS."""
    host = "ws.example.com" if tls else HOST
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\n" if tls else ""
    request = f"GET /1k HTTP/1.1\r\nHost: {host}\r\n{upgrade}\r\n".encode()
    before = target.pss_mib()
    held = []
    for _ in range(IDLE):
        one: socket.socket = socket.create_connection(
            ("127.0.0.1", target.https if tls else target.http)
        )
        if tls:
            one = client_context().wrap_socket(one, server_hostname=host)
        one.sendall(request)
        one.recv(65536)
        held.append(one)
    time.sleep(0.5)  # noqa: TID251 - a script, no reactor
    used = (target.pss_mib() - before) * 1024 / IDLE
    for one in held:
        one.close()
    return used


def worker_at_rest_mib(folder: Path, where: Path | None) -> float:
    """Return the memory of one worker of the split form, PSS."""
    environment = {**os.environ, **paths(where)}
    with (folder / "split.log").open("wb") as log:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("twistd"), "-n", "--pidfile=",
             "haloy-proxy", "--workers", "1", "--control", folder / "s.sock",
             "--state-dir", folder / "state", "--http", "127.0.0.1:0", "--https", ""],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    try:
        for _ in range(200):
            if "haloy-proxy serves" in (folder / "split.log").read_text():
                break
            time.sleep(0.05)  # noqa: TID251 - a script, no reactor
        (worker,) = children(process.pid)
        return Target("worker", worker, 0, 0).pss_mib()
    finally:
        process.terminate()
        process.wait(20)


def two_workers(
    stage: Stage, forms: dict[str, Path | None], rounds: int, seconds: float
) -> dict[str, list[float]]:
    """Return requests per second with two workers each; our log is off here.

    haloy-proxy sends its log to haloyd, which is not here.
    """
    ports = {name: free_port() for name in ("nginx", *forms)}
    front = (
        f"upstream app {{ server 127.0.0.1:{stage.app}; keepalive 128; }}\n"
        "proxy_http_version 1.1; proxy_set_header Connection '';\n"
        f"server {{ listen 127.0.0.1:{ports['nginx']} backlog=4096;"
        " location / { proxy_pass http://app; } }"
    )
    text = NGINX.format(folder=stage.folder, name="two", body=front, log="off")
    conf = stage.folder / "two.conf"
    conf.write_text(text.replace("worker_processes 1", "worker_processes 2"))
    state = stage.folder / "state2"
    table = unread_table(table_of(stage.app, stage.ws, stage.up))
    KeptFiles(state).save_table({}, table)
    commands = {"nginx": ["nginx", "-c", str(conf), "-p", str(stage.folder)]}
    for form in forms:
        commands[form] = [
            str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=",
            "haloy-proxy", "--workers", "2",
            "--control", str(stage.folder / f"{form}.sock"),
            "--state-dir", str(state), "--https", "",
            "--http", f"127.0.0.1:{ports[form]}",
        ]  # fmt: skip
    found: dict[str, list[float]] = {}
    targets = []
    for name, command in commands.items():
        log = (stage.folder / f"two-{name}.out").open("wb")
        process = subprocess.Popen(
            command, stdout=log, stderr=log,
            env={**os.environ, **paths(forms.get(name))},
        )  # fmt: skip
        stage.processes.append(process)
        wait_for(ports[name])
        targets.append(Target(name, process.pid, ports[name], 0))
        found[name] = []
    time.sleep(2)  # noqa: TID251 - both workers of each
    for _ in range(rounds):
        for target in targets:
            began = time.monotonic()
            moved = wrk(target, "/1k", seconds, False, BROWSER)
            found[target.name].append(moved / (time.monotonic() - began))
    return found


def row(
    name: str,
    unit: str,
    values: dict[str, list[float]],
    wanted: Wanted | None = None,
) -> None:
    """Print medians, and ratios to nginx with their spread over the rounds."""
    print(f"\n{name} ({unit})")
    wanted = wanted or WANTED.get(name)
    base = values.get("nginx", [])
    for target, found in values.items():
        ratios = [
            one / max(other, 1e-9) for one, other in zip(found, base, strict=False)
        ]
        middle = statistics.median(base) if base else 0.0
        if middle < 0.01:  # nothing to compare with
            print(f"  {target:12} {statistics.median(found):9.2f}", flush=True)
            continue
        value = statistics.median(found)
        print(
            f"  {target:12} {value:9.2f}   x {value / middle:5.2f}"
            f"  [{min(ratios):.2f}-{max(ratios):.2f}]"
            + (wanted.said(target, value, value / middle) if wanted else ""),
            flush=True,
        )


def run(rounds: int, seconds: float, only: list[str], forms: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="haloy-bench-"))
    folder.chmod(0o755)  # nginx serves as nobody
    stage = None
    try:
        chosen: dict[str, Path | None] = {}
        if forms in ("both", "interpreted"):
            chosen["interpreted"] = None
        if forms in ("both", "compiled") and (where := compiled(folder)):
            chosen["compiled"] = where
        stage = Stage(folder, stock=False, ours=False)
        peers = Peers(stage, [*stage.targets])
        peers.haproxy()
        peers.caddy()
        for form, place in chosen.items():
            peers.ours(form, place)
        _all(peers, chosen, rounds, seconds, only)
    finally:
        if stage is not None:
            stage.close()
        shutil.rmtree(folder, ignore_errors=True)


def _all(
    peers: Peers,
    forms: dict[str, Path | None],
    rounds: int,
    seconds: float,
    only: list[str],
) -> None:
    def chosen(name: str) -> bool:
        return not only or any(word in name for word in only)

    targets, folder = peers.targets, peers.stage.folder
    for name, (unit, scale, load) in CASES.items():
        if not chosen(name):
            continue
        values: dict[str, list[float]] = {one.name: [] for one in targets}
        for _ in range(rounds):
            for target in targets:
                if target.name not in values:
                    continue
                before = target.cpu_s()
                try:
                    moved = load(target, seconds)
                except (OSError, SystemExit, subprocess.CalledProcessError) as problem:
                    print(f"{name}: without {target.name}: {str(problem)[:200]}")
                    del values[target.name]
                    continue
                spent = target.cpu_s() - before
                values[target.name].append(spent / max(moved, 0.01) * scale)
        row(name, f"CPU {unit}", values)
    if chosen("p99"):
        values = {one.name: [] for one in targets}
        for _ in range(rounds):
            for target in targets:
                values[target.name].append(p99_ms(target, folder, 2 * seconds))
        nginx, caddy = (
            statistics.median(values.get(name, [0.0])) for name in ("nginx", "caddy")
        )
        wanted = Wanted(caddy, caddy, 1.2 * nginx, absolute=True)
        row("p99 at 2,000 requests/s", "ms", values, wanted)
    if chosen("two"):
        values = two_workers(peers.stage, forms, rounds, seconds)
        row("two workers, GET 1 KiB", "requests/s", values)
    if chosen("idle"):
        for tls, name in ((False, "idle, kept alive"), (True, "idle WebSocket, TLS")):
            values = {one.name: [idle_kib(one, tls)] for one in targets}
            row(name, "KiB each", values)
    if chosen("memory"):
        row(
            "memory after all this", "MiB PSS", {t.name: [t.pss_mib()] for t in targets}
        )
        print("\na worker of the split form at rest (MiB PSS)")
        for form, where in forms.items():
            rest = worker_at_rest_mib(folder, where)
            said = WANTED["a worker at rest"].said(form, rest, rest)
            print(f"  {form:12} {rest:9.2f}{said}")
    if chosen("swaps"):
        command = [sys.executable, "-P", "-m", "bench.swaps", f"--rounds={rounds}"]
        if os.geteuid() == 0:  # as on a server, where systemd gives shares of the CPU
            command.append("--units")
        for form, where in forms.items():
            print(f"\ntables swapped under load, {form}", flush=True)
            environment = {**os.environ, **paths(where)}
            subprocess.run(command, env=environment, check=False)
