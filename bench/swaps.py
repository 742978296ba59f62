"""Measure what new tables cost requests: 1,000 routes, swapped 10 times a second.

usage: python -m bench.swaps [--rounds N] [--seconds S] [--workers N] [--routes N]
                             [--changed SHARE] [--floor]

Each round asks the split form 500 times a second on 20 connections, first in quiet,
then while this process, in haloyd's place, swaps the table; C{SHARE} of the replicas
are new in each (default: a tenth). What counts is the ratio of the 99th percentiles.
This process does what haloyd does for a table: it builds it of what is wanted, sends
what differs, and writes the snapshot. The load, the proxy and this process share the
machine, and with few cores they wait for each other: C{--floor} asks a third time,
while two processes that do nothing for the proxy take as much of the CPU as this one
and the supervisor took for the tables. The milliseconds of each are per swap, those of
the workers with the requests they answer. Needs nginx, as the app, and h2load.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed  # noqa: TID251 - the entry point
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from bench.compare import BACKEND, HOST, NGINX, free_port, wait_for
from haloy.daemon.intents import Intents
from haloy.daemon.routing import Routing
from haloy.daemon.snapshot import SnapshotWriter
from haloy.model.app import Address, App, Domain, Replica, UnixAddress
from haloy.model.names import AppName, DeploymentId, DomainName
from haloy.proxy.control.client import RemoteProxy

EACH_S = 0.1
#: Takes so many milliseconds of a core, ten times a second.
BURN = """
import sys, time
while True:
    until = time.process_time() + float(sys.argv[1]) / 1000
    while time.process_time() < until:
        pass
    time.sleep(0.1)
"""

reactor: Any = installed


def wanted(routes: int, changed: float, port: int, count: int) -> list[Intents]:
    """Return C{count} rows of intents; the measured app stays as it is."""
    deployment = DeploymentId("20261124120000")
    names = [AppName("app"), *(AppName(f"app{n}") for n in range(routes - 1))]
    apps = {
        name: App(name, deployment, (Domain(DomainName(f"{name}.example.com")),))
        for name in names
    }

    def replica(name: AppName, moved: int) -> Replica:
        address = Address("127.0.0.1", port)
        key = f"{name}-{moved}"
        return Replica(key, key, name, deployment, 1, address, True, True)

    serving = {name: replica(name, 0) for name in names}
    rows = []
    for row in range(count):
        # A window of the other apps moves on with each row.
        for place in range(round(routes * changed)):
            name = names[1 + (row * round(routes * changed) + place) % (routes - 1)]
            serving[name] = replica(name, row + 1)
        admitted = {one.container_id: one for one in serving.values()}
        rows.append(Intents(None, apps, admitted))
    return rows


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
    if not rows:
        raise RuntimeError("h2load has had no answer, or no time")
    taken = sorted(int(row[2]) / 1000 for row in rows)
    failed = sum(row[1] != "200" for row in rows)
    return taken[len(taken) // 2], taken[int(len(taken) * 0.99)], failed


def listed(values: Iterable[float]) -> str:
    return " + ".join(f"{one:.1f}" for one in values)


class Swapping:
    """Swaps tables until it is stopped."""

    def __init__(self, routing: Routing, rows: Sequence[Intents]) -> None:
        self._routing = routing
        self._rows = rows
        self._going = True
        self.done = 0
        self.longest_s = 0.0

    async def run(self) -> None:
        for row in self._rows:
            if not self._going:
                return
            began_s = reactor.seconds()
            self._routing.restore(row)
            await self._routing.published()
            took_s = reactor.seconds() - began_s
            self.longest_s = max(self.longest_s, took_s)
            self.done += 1
            await deferLater(reactor, max(0.0, EACH_S - took_s))

    def stop(self) -> None:
        self._going = False


def taken_ms(process: int) -> tuple[float, float]:
    """Return for how many milliseconds a process has run, and waited for a CPU."""
    ran_ms = waited_ms = 0.0
    for thread in Path(f"/proc/{process}/task").iterdir():
        ran_ns, waited_ns, _ = map(int, (thread / "schedstat").read_text().split())
        ran_ms += ran_ns / 1e6
        waited_ms += waited_ns / 1e6
    return ran_ms, waited_ms


def workers_of(supervisor: int) -> list[int]:
    """Return the processes of its workers."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text()
    return [int(one) for one in children.split()]


@contextmanager
def burning(each_ms: Sequence[float]) -> Any:
    """Let processes take that much of the CPU, each, ten times a second."""
    processes = [
        subprocess.Popen([sys.executable, "-c", BURN, str(one)]) for one in each_ms
    ]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait(20)


def floor(port: int, folder: Path, seconds: float, each_ms: Sequence[float]) -> float:
    """Return the 99th percentile while others take that much of the CPU."""
    with burning(each_ms):
        return load(port, folder, seconds)[1]


async def measure(given: argparse.Namespace, folder: Path, http: int) -> None:
    proxy = RemoteProxy(reactor, str(folder / "proxy.sock"), {})
    pool = reactor.getThreadPool()
    snapshot = SnapshotWriter(reactor, pool, folder / "snapshot.json")
    # Where haloyd's API would be does not matter: it has no domain here.
    routing = Routing(proxy, UnixAddress("/none"), Intents(), changed=snapshot.save)
    proxy.startService()
    swaps = round(given.seconds / EACH_S) + 5
    rows = wanted(given.routes, given.changed, given.app, given.rounds * swaps + 1)
    routing.restore(rows[0])
    await routing.published()
    gc.collect()
    gc.freeze()  # no haloyd has so many tables at once
    await deferToThread(load, http, folder, 1.0)
    ratios, floors = [], []
    for number in range(given.rounds):
        quiet = await deferToThread(load, http, folder, given.seconds)
        start = 1 + number * swaps
        swapping = Swapping(routing, rows[start : start + swaps])
        taking = (os.getpid(), given.supervisor, *workers_of(given.supervisor))
        before_ms = [taken_ms(one) for one in taking]
        running = Deferred.fromCoroutine(swapping.run())
        busy = await deferToThread(load, http, folder, given.seconds)
        swapping.stop()
        await running
        each_ms = [
            [(now - then) / swapping.done for now, then in zip(both, was, strict=True)]
            for both, was in zip(map(taken_ms, taking), before_ms, strict=True)
        ]
        ratios.append(busy[1] / quiet[1])
        beside = ""
        if given.floor:
            burnt_ms = [ran for ran, _ in each_ms[:2]]
            p99 = await deferToThread(floor, http, folder, given.seconds, burnt_ms)
            floors.append(p99 / quiet[1])
            beside = f"   others: p99 {p99:.2f} ms, x {floors[-1]:.2f}"
        print(
            f"quiet p50 {quiet[0]:.2f} p99 {quiet[1]:.2f} ms   {swapping.done} swaps"
            f" (longest {swapping.longest_s * 1000:.0f} ms; haloyd, supervisor, workers"
            f" ran {listed(ran for ran, _ in each_ms)} ms each, waited"
            f" {listed(waited for _, waited in each_ms)}): p50 {busy[0]:.2f}"
            f" p99 {busy[1]:.2f} ms   x {ratios[-1]:.2f}"
            f"   failed {quiet[2] + busy[2]}{beside}",
            flush=True,
        )
    middle = statistics.median(ratios)
    print(
        f"p99 of {given.routes} routes, {given.workers} workers,"
        f" {given.changed:g} changed: x {middle:.2f}"
        f" [{min(ratios):.2f}-{max(ratios):.2f}]  must 2.0, aim 1.2"
    )
    if floors:
        print(
            f"the same CPU for nothing: x {statistics.median(floors):.2f}"
            f" [{min(floors):.2f}-{max(floors):.2f}]"
        )
    await routing.stop()
    await proxy.stopService()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--changed", type=float, default=0.1)
    parser.add_argument("--floor", action="store_true")
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
                given.app, given.supervisor = app, processes[1].pid
                problems: list[Failure] = []
                running = Deferred.fromCoroutine(measure(given, folder, http))
                running.addErrback(problems.append)
                running.addBoth(lambda _: reactor.stop())
                reactor.run()
                for problem in problems:
                    problem.raiseException()
            finally:
                for process in processes:
                    process.terminate()
                    process.wait(20)


if __name__ == "__main__":
    main()
