"""Requests that come evenly, and what L{bench.swaps} has beside its proxy."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench.compare import HOST, NGINX, free_port, wait_for
from haloy.turns import as_usual

CONNECTIONS = 20
RATE = 25  # requests a second, of each
#: Takes so many milliseconds of a core, ten times a second.
BURN = """
import sys, time
while True:
    until = time.process_time() + float(sys.argv[1]) / 1000
    while time.process_time() < until:
        pass
    time.sleep(0.1)
"""


class Latency(NamedTuple):
    """Of one load: percentiles in milliseconds, and how many requests failed.

    C{unasked}: that h2load has not sent, as it does at times after a connection ended.
    """

    p50: float
    p99: float
    failed: int
    unasked: int = 0


Placed = Callable[[str, Sequence[Any]], Sequence[Any]]


def as_it_is(name: str, command: Sequence[Any]) -> Sequence[Any]:
    """Return C{command}: it gets no group but that of its session."""
    return command


def load(port: int, folder: Path, seconds: float, placed: Placed = as_it_is) -> Latency:
    """Ask C{port} evenly."""
    asked = round(CONNECTIONS * RATE * seconds)
    log = folder / "latency.log"
    log.unlink(missing_ok=True)
    with as_usual():
        subprocess.run(
            placed("load", [
                "h2load", "--h1", "-t1", f"-c{CONNECTIONS}", f"--rps={RATE}",
                f"-n{asked}", "-r1",
                f"--rate-period={round(1000 / CONNECTIONS / RATE)}ms", "-T5s", "-N5s",
                f"--log-file={log}", f"--connect-to=127.0.0.1:{port}",
                f"http://{HOST}/1k",
            ]),
            check=True, capture_output=True, start_new_session=True,
        )  # fmt: skip
    rows = [line.split() for line in log.read_text().splitlines()]
    if not rows:
        raise RuntimeError("h2load has had no answer, or no time")
    taken = sorted(int(row[2]) / 1000 for row in rows)
    failed = sum(row[1] != "200" for row in rows)
    p50, p99 = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    return Latency(p50, p99, failed, asked - len(rows))


@contextmanager
def burning(each_ms: Sequence[float]) -> Iterator[None]:
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


def floor(
    port: int, folder: Path, seconds: float, each_ms: Sequence[float],
    placed: Placed = as_it_is,
) -> float:  # fmt: skip
    """Return the 99th percentile while others take that much of the CPU."""
    with burning(each_ms):
        return load(port, folder, seconds, placed).p99


class Nginx:
    """One with as many servers, in front of the same app."""

    def __init__(self, folder: Path, app: int, routes: int) -> None:
        self.port = free_port()
        body = [
            f"upstream u{one} {{ server 127.0.0.1:{app}; keepalive 32; }} "
            f"server {{ listen 127.0.0.1:{self.port}; server_name {name}; "
            f"location / {{ proxy_pass http://u{one}; }} }}"
            for one, name in enumerate(
                [HOST, *(f"app{n}.example.com" for n in range(routes - 1))]
            )
        ]
        kept = 'proxy_http_version 1.1; proxy_set_header Connection "";'
        conf = folder / "front.conf"
        text = NGINX.format(
            folder=folder, name="front", body="\n".join([kept, *body]),
            log=folder / "front.log",
        )  # fmt: skip
        conf.write_text(text)
        with as_usual():
            self._process = subprocess.Popen(["nginx", "-c", conf, "-p", folder])
        wait_for(self.port)

    def reload(self) -> None:
        """Have it read its configuration; nobody learns when it has."""
        self._process.send_signal(signal.SIGHUP)

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)
