"""Measure what new tables cost requests: 1,000 routes, swapped 10 times a second.

usage: python -m bench.swaps [--rounds N] [--seconds S] [--workers N] [--changed SHARE]

Each round asks the split form 500 times a second on 20 connections, first in quiet,
then while this process, in haloyd's place, swaps the table; C{SHARE} of the upstreams
are new in each (default: a tenth). What counts is the ratio of the 99th percentiles.
The load, the proxy and this process share the machine: with few cores they wait for
each other. Needs nginx, as the app, and h2load.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed  # noqa: TID251 - the entry point
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from bench.compare import BACKEND, HOST, NGINX, free_port, wait_for
from haloy.model.app import Address, Domain
from haloy.model.names import AppName, DomainName
from haloy.proxy.control.client import RemoteProxy
from haloy.proxy.routes import RoutedApp, RouteTable, Upstream, build_table

ROUTES = 1000
EACH_S = 0.1

reactor: Any = installed


def thousand(generation: int, port: int, changed: float) -> RouteTable:
    """Return the table of C{generation}; the measured app stays as it is."""
    share = round(ROUTES * changed)

    def upstream(number: int) -> Upstream:
        # A window of `share` apps moves on with each generation.
        moved = (generation * share - number - 1) // (ROUTES - 1) + 1 if share else 0
        return Upstream(f"app{number}-{moved}", Address("127.0.0.1", port))

    names = [("app", Upstream("app", Address("127.0.0.1", port)))]
    names += [(f"app{n}", upstream(n)) for n in range(ROUTES - 1)]
    apps = [
        RoutedApp(AppName(name), (Domain(DomainName(f"{name}.example.com")),), (one,))
        for name, one in names
    ]
    return build_table(generation, None, apps)[0]


def load(port: int, folder: Path, seconds: float) -> tuple[float, float, int]:
    """Return median and 99th percentile in milliseconds, and how many failed."""
    log = folder / "latency.log"
    log.unlink(missing_ok=True)
    subprocess.run(
        ["h2load", "--h1", "-t1", "-c20", "--rps=25", f"-D{round(seconds * 1000)}ms",
         f"--log-file={log}", f"--connect-to=127.0.0.1:{port}", f"http://{HOST}/1k"],
        check=True, capture_output=True,
    )  # fmt: skip
    rows = [line.split() for line in log.read_text().splitlines()]
    taken = sorted(int(row[2]) / 1000 for row in rows)
    failed = sum(row[1] != "200" for row in rows)
    return taken[len(taken) // 2], taken[int(len(taken) * 0.99)], failed


class Swapping:
    """Swaps tables until it is stopped."""

    def __init__(self, proxy: RemoteProxy, tables: list[RouteTable]) -> None:
        self._proxy = proxy
        self._tables = tables
        self._going = True
        self.done = 0
        self.longest_s = 0.0

    async def run(self) -> None:
        for table in self._tables:
            if not self._going:
                return
            began_s = reactor.seconds()
            await self._proxy.replace_table(table)
            took_s = reactor.seconds() - began_s
            self.longest_s = max(self.longest_s, took_s)
            self.done += 1
            await deferLater(reactor, max(0.0, EACH_S - took_s))

    def stop(self) -> None:
        self._going = False


async def measure(given: argparse.Namespace, folder: Path, app: int, http: int) -> None:
    proxy = RemoteProxy(reactor, str(folder / "proxy.sock"), {})
    proxy.startService()
    swaps = round(given.seconds / EACH_S) + 5
    tables = [thousand(n, app, given.changed) for n in range(given.rounds * swaps + 1)]
    await proxy.replace_table(tables[0])
    await deferToThread(load, http, folder, 1.0)
    ratios = []
    for number in range(given.rounds):
        quiet = await deferToThread(load, http, folder, given.seconds)
        start = 1 + number * swaps
        swapping = Swapping(proxy, tables[start : start + swaps])
        running = Deferred.fromCoroutine(swapping.run())
        busy = await deferToThread(load, http, folder, given.seconds)
        swapping.stop()
        await running
        ratios.append(busy[1] / quiet[1])
        print(
            f"quiet p50 {quiet[0]:.2f} p99 {quiet[1]:.2f} ms   {swapping.done} swaps"
            f" (longest {swapping.longest_s * 1000:.0f} ms): p50 {busy[0]:.2f}"
            f" p99 {busy[1]:.2f} ms   x {ratios[-1]:.2f}"
            f"   failed {quiet[2] + busy[2]}",
            flush=True,
        )
    middle = statistics.median(ratios)
    print(
        f"p99 of {ROUTES} routes, {given.workers} workers, {given.changed:g} changed:"
        f" x {middle:.2f} [{min(ratios):.2f}-{max(ratios):.2f}]  must 2.0, aim 1.2"
    )
    await proxy.stopService()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--changed", type=float, default=0.1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="haloy-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # nginx serves as nobody
        (folder / "www").mkdir()
        (folder / "www" / "1k").write_bytes(b"x" * 1024)
        app, http = free_port(), free_port()
        conf = folder / "app.conf"
        body = BACKEND.format(port=app, folder=folder)
        conf.write_text(NGINX.format(folder=folder, name="app", body=body, log="off"))
        commands: list[list[Any]] = [
            ["nginx", "-c", conf, "-p", folder],
            [Path(sys.executable).with_name("twistd"), "-n", "--pidfile=",
             "haloy-proxy", "--workers", str(given.workers),
             "--control", folder / "proxy.sock", "--state-dir", folder / "state",
             "--http", f"127.0.0.1:{http}", "--https", ""],
        ]  # fmt: skip
        with (folder / "proxy.log").open("wb") as log:
            processes = [
                subprocess.Popen(command, stdout=log, stderr=log)
                for command in commands
            ]
            try:
                wait_for(app)
                wait_for(http)
                running = Deferred.fromCoroutine(measure(given, folder, app, http))
                running.addErrback(lambda failure: failure.printTraceback())
                running.addBoth(lambda _: reactor.stop())
                reactor.run()
            finally:
                for process in processes:
                    process.terminate()
                    process.wait(20)


if __name__ == "__main__":
    main()
