"""Measure what new tables cost requests: 1,000 routes, swapped 10 times a second.

usage: python -m bench.swaps [--rounds N] [--seconds S] [--workers N] [--routes N]
                             [--changed APPS,...] [--nginx] [--floor] [--units]

Each round asks the split form 500 times a second on 20 connections: in quiet, then
while this process, in haloyd's place, swaps the table, then while the proxy is
reloaded besides. So many C{APPS} of the table have another replica in each: one, which
is what a deployment or a verdict does, a tenth of them, and all, which is the worst.
The connections are opened 2 ms apart, so that requests come evenly: all at once they
would come 20 every 40 ms, and the 99th percentile be that of the last ones of a burst.

What counts is the ratio of the 99th percentiles to our own in quiet. C{--nginx} asks
nginx with as many servers, too, by the same load: in quiet, to which the others are
compared as well, and reloaded as often, which is what it has for a new table. It does
not tell when a reload is done.

A reload, nginx's and ours, ends kept-alive connections; h2load gives up some of them
with all that it was to ask there. That is counted apart from what failed, and says
nothing of either: that no request is lost is for tests to tell.

This process does what haloyd does for a table: it builds it of what is wanted, sends
what differs, writes the snapshot, and lets others use the CPU first. The load, the
proxy and this process share the machine, and with few cores they wait for each other:
C{--floor} asks once more, while two processes that do nothing for the proxy take as
much of the CPU as this one and the supervisor took for the tables, and also let others
use it first. Each runs in a session of its own, for which the scheduler has a group
(autogroup), as it has for units of systemd and containers; with C{--units} in a control
group with the weight that the unit's file gives it, which only root can have. The
milliseconds of each are per swap, those of the workers with the requests they answer.
Needs nginx, as the app, and h2load.
"""

from __future__ import annotations

import argparse
import gc
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import reactor as installed  # noqa: TID251 - the entry point
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from bench.compare import BACKEND, NGINX, free_port, wait_for
from bench.even import Latency, Nginx, as_it_is, floor, load
from bench.units import missing, units
from haloy.daemon.intents import Intents
from haloy.daemon.routing import Routing
from haloy.daemon.snapshot import SnapshotWriter
from haloy.model.app import Address, App, Domain, Replica, UnixAddress
from haloy.model.names import AppName, DeploymentId, DomainName
from haloy.proxy.control.client import RemoteProxy
from haloy.turns import LONG_TURN_NS, let_others_first

EACH_S = 0.1

reactor: Any = installed


class Wanted:
    """What is wanted, one row of intents after the other; the measured app stays."""

    def __init__(self, routes: int, port: int) -> None:
        self._port = port
        self._deployment = DeploymentId("20261124120000")
        names = [AppName("app"), *(AppName(f"app{n}") for n in range(routes - 1))]
        self._apps = {
            name: App(
                name, self._deployment, (Domain(DomainName(f"{name}.example.com")),)
            )
            for name in names
        }
        self._others = names[1:]
        self._place = 0
        self._serving = {name: self._replica(name, 0) for name in names}

    def _replica(self, name: AppName, moved: int) -> Replica:
        address = Address("127.0.0.1", self._port)
        key = f"{name}-{moved}"
        return Replica(key, key, name, self._deployment, 1, address, True, True)

    def row(self, changed: int) -> Intents:
        """Return the next one: C{changed} other apps, in turn, have a new replica."""
        for _ in range(min(changed, len(self._others))):
            name = self._others[self._place % len(self._others)]
            self._place += 1
            self._serving[name] = self._replica(name, self._place)
        admitted = {one.container_id: one for one in self._serving.values()}
        return Intents(None, self._apps, admitted)


def listed(values: Iterable[float]) -> str:
    return " + ".join(f"{one:.1f}" for one in values)


class Swapping:
    """Swaps tables, one after the other."""

    def __init__(self, routing: Routing, rows: Iterator[Intents]) -> None:
        self._routing = routing
        self._rows = rows
        self.done = 0
        self.longest_s = 0.0

    async def run(self, going: Callable[[], bool]) -> None:
        """Go on until C{going} says no."""
        for row in self._rows:
            if not going():
                return
            began_s = reactor.seconds()
            self._routing.restore(row)
            await self._routing.published()
            took_s = reactor.seconds() - began_s
            self.longest_s = max(self.longest_s, took_s)
            self.done += 1
            await deferLater(reactor, max(0.0, EACH_S - took_s))


def counts(text: str) -> tuple[int, ...]:
    return tuple(int(one) for one in text.split(","))


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


def reloading(nginx: Nginx) -> Callable[[Callable[[], bool]], Any]:
    """Return what reloads it as often as tables are swapped."""

    async def reload(going: Callable[[], bool]) -> None:
        while going():
            nginx.reload()
            await deferLater(reactor, EACH_S)

    return reload


async def during(
    beside: Callable[[Callable[[], bool]], Coroutine[Any, Any, None]],
    asking: Callable[[], Latency],
) -> Latency:
    """Return what C{asking} does in a thread, while C{beside} goes on."""
    going = True
    running = Deferred.fromCoroutine(beside(lambda: going))
    found = await deferToThread(asking)
    going = False
    await running
    return found


@define
class Figures:
    """Ratios of the 99th percentiles of all rounds, by what they compare."""

    of: dict[str, list[float]] = field(factory=dict)
    failed: dict[str, int] = field(factory=dict)

    def note(self, what: str, one: Latency, other: Latency) -> str:
        """Take the ratio of C{one} to C{other}, and return it as text."""
        self.of.setdefault(what, []).append(one.p99 / other.p99)
        return f"x {self.of[what][-1]:.2f}"

    def count(self, what: str, *some: Latency) -> None:
        """Add how many requests failed."""
        lost = sum(one.failed for one in some)
        self.failed[what] = self.failed.get(what, 0) + lost
        left = f"{what}, never sent by h2load"
        unasked = sum(one.unasked for one in some)
        self.failed[left] = self.failed.get(left, 0) + unasked

    def tell(self, of_what: str) -> None:
        """Print the medians."""
        for what, lost in self.failed.items():
            print(f"failed requests, {what}: {lost}")
        print(f"p99 of {of_what}; while swapped: must 2.0, aim 1.2")
        for what, ratios in self.of.items():
            print(
                f"  {what}: x {statistics.median(ratios):.2f}"
                f" [{min(ratios):.2f}-{max(ratios):.2f}]"
            )


class Rounds:
    """One round after the other: everything is asked in each."""

    def __init__(
        self, given: argparse.Namespace, folder: Path, routing: Routing,
        wanted: Wanted, nginx: Nginx | None,
    ) -> None:  # fmt: skip
        self._given = given
        self._folder = folder
        self._routing = routing
        self._wanted = wanted
        self._nginx = nginx
        self.figures = Figures()

    def _ask(self, port: int) -> Latency:
        return load(port, self._folder, self._given.seconds, self._given.placed)

    def _swapping(self, changed: int) -> Swapping:
        count = round(self._given.seconds / EACH_S) + 20
        rows = [self._wanted.row(changed) for _ in range(count)]
        gc.collect()
        gc.freeze()  # no haloyd has so many tables at once
        return Swapping(self._routing, iter(rows))

    async def go(self, http: int) -> None:
        """Ask in quiet and while tables are swapped, then with a reload besides."""
        both = [await self._swapped(http, one) for one in self._given.changed]
        quiet, busy = both[0]
        reloaded = await self._reloaded(http)
        ratio = self.figures.note("swapped and reloaded, to quiet", reloaded, quiet)
        self.figures.count("reloaded", reloaded)
        print(
            f"   reloaded besides: p50 {reloaded.p50:.2f} p99 {reloaded.p99:.2f} ms  "
            f" {ratio}   failed {reloaded.failed}",
            flush=True,
        )
        if self._nginx is not None:
            await self._compared(self._nginx, quiet, busy)

    async def _swapped(self, http: int, changed: int) -> tuple[Latency, Latency]:
        """Return how it was in quiet, and while C{changed} apps moved each time."""
        given, figures = self._given, self.figures
        swapping = self._swapping(changed)
        quiet = await deferToThread(self._ask, http)
        taking = (os.getpid(), given.supervisor, *workers_of(given.supervisor))
        before_ms = [taken_ms(one) for one in taking]
        busy = await during(swapping.run, lambda: self._ask(http))
        each_ms = [
            [(now - then) / swapping.done for now, then in zip(both, was, strict=True)]
            for both, was in zip(map(taken_ms, taking), before_ms, strict=True)
        ]
        ratio = figures.note(f"{changed} changed, to our own in quiet", busy, quiet)
        figures.count(f"{changed} changed, and in quiet before it", quiet, busy)
        print(
            f"quiet p50 {quiet.p50:.2f} p99 {quiet.p99:.2f} ms   {swapping.done} swaps"
            f" of {changed} apps (longest {swapping.longest_s * 1000:.0f} ms; haloyd,"
            f" supervisor, workers ran {listed(ran for ran, _ in each_ms)} ms each,"
            f" waited {listed(waited for _, waited in each_ms)}): p50 {busy.p50:.2f}"
            f" p99 {busy.p99:.2f} ms   {ratio}   failed {quiet.failed + busy.failed}",
            flush=True,
        )
        if given.floor:
            burnt_ms = [ran for ran, _ in each_ms[:2]]
            p99 = await deferToThread(
                floor, http, self._folder, given.seconds, burnt_ms, given.placed
            )
            idle = Latency(0.0, p99, 0)
            figures.note(f"the CPU of {changed} changed, for nothing", idle, quiet)
        return quiet, busy

    async def _reloaded(self, http: int) -> Latency:
        swapping = self._swapping(self._given.changed[0])

        async def beside(going: Callable[[], bool]) -> None:
            later = reactor.callLater(
                self._given.seconds / 3, os.kill, self._given.supervisor, signal.SIGHUP
            )
            await swapping.run(going)
            if later.active():
                later.cancel()

        found = await during(beside, lambda: self._ask(http))
        while len(workers_of(self._given.supervisor)) > self._given.workers:
            await deferLater(reactor, EACH_S)  # the old ones leave
        return found

    async def _compared(self, nginx: Nginx, quiet: Latency, busy: Latency) -> None:
        figures = self.figures
        calm = await deferToThread(self._ask, nginx.port)
        again = await during(reloading(nginx), lambda: self._ask(nginx.port))
        figures.note("in quiet, to nginx in quiet", quiet, calm)
        figures.note("swapped, to nginx in quiet", busy, calm)
        figures.note("nginx reloaded as often, to itself in quiet", again, calm)
        figures.count("nginx in quiet", calm)
        figures.count("nginx reloaded", again)
        print(
            f"   nginx: quiet p50 {calm.p50:.2f} p99 {calm.p99:.2f} ms, reloaded p50"
            f" {again.p50:.2f} p99 {again.p99:.2f} ms, failed {again.failed}",
            flush=True,
        )


async def measure(given: argparse.Namespace, folder: Path, http: int) -> None:
    let_others_first(LONG_TURN_NS)  # as haloyd does
    proxy = RemoteProxy(reactor, str(folder / "proxy.sock"), {})
    pool = reactor.getThreadPool()
    snapshot = SnapshotWriter(reactor, pool, folder / "snapshot.json")
    # Where haloyd's API would be does not matter: it has no domain here.
    routing = Routing(proxy, UnixAddress("/none"), Intents(), changed=snapshot.save)
    proxy.startService()
    wanted = Wanted(given.routes, given.app)
    routing.restore(wanted.row(0))
    await routing.published()
    nginx = Nginx(folder, given.app, given.routes) if given.nginx else None
    try:
        await deferToThread(load, http, folder, 1.0, given.placed)
        rounds = Rounds(given, folder, routing, wanted, nginx)
        for _ in range(given.rounds):
            await rounds.go(http)
    finally:
        if nginx is not None:
            nginx.stop()
    rounds.figures.tell(f"{given.routes} routes, {given.workers} workers")
    await routing.stop()
    await snapshot.stop()
    await proxy.stopService()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--routes", type=int, default=1000)
    parser.add_argument("--changed", type=counts, default=(1, 100, 1000))
    parser.add_argument("--nginx", action="store_true")
    parser.add_argument("--floor", action="store_true")
    parser.add_argument("--units", action="store_true")
    given = parser.parse_args()
    with ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="haloy-bench-"))
        given.placed = as_it_is
        if given.units and (why := missing()):
            print(why)
        elif given.units:
            grouped = stack.enter_context(units())
            given.placed = grouped.command
            grouped.enter("haloyd.service")
        folder = Path(name)
        folder.chmod(0o755)  # nginx serves as nobody
        (folder / "www").mkdir()
        (folder / "www" / "1k").write_bytes(b"x" * 1024)
        app, http = free_port(), free_port()
        conf = folder / "app.conf"
        body = BACKEND.format(port=app, folder=folder)
        conf.write_text(NGINX.format(folder=folder, name="app", body=body, log="off"))
        commands: list[Sequence[Any]] = [
            given.placed("app", ["nginx", "-c", conf, "-p", folder]),
            given.placed("haloy-proxy.service", [
                Path(sys.executable).with_name("twistd"), "-n", "--pidfile=",
                "haloy-proxy", "--workers", str(given.workers),
                "--control", folder / "proxy.sock", "--state-dir", folder / "state",
                "--http", f"127.0.0.1:{http}", "--https", "",
            ]),
        ]  # fmt: skip
        with (folder / "proxy.log").open("wb") as log:
            processes = [
                subprocess.Popen(
                    command, stdout=log, stderr=log, start_new_session=True
                )
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
