"""A real haloy-proxy in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.support import twistd
from tests.support.waiting import wait_until

STOP_LIMIT_S = 40.0


@frozen
class RunningProxy:
    """One supervisor with its workers."""

    process: subprocess.Popen[bytes]
    log: Path

    def workers(self) -> list[int]:
        """Return the workers that have ever served, in order."""
        return [
            int(line.split("worker ")[1].split()[0])
            for line in self.log.read_text().splitlines()
            if line.endswith(" serves") and "worker " in line
        ]

    def reload(self) -> None:
        """Replace the workers, and wait until new ones serve."""
        before = len(self.workers())
        replaced = self.log.read_text().count("workers were replaced")
        self.process.send_signal(signal.SIGHUP)
        wait_until(
            lambda: (
                self.log.read_text().count("workers were replaced") > replaced
                and len(self.workers()) > before
            ),
            self.log.read_text,
        )

    def end(self) -> None:
        """Ask it to end, as systemd would, and insist after a while."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            told = self.log.read_text()
            raise AssertionError(f"SIGTERM ignored:\n{told}") from None
        assert self.process.returncode in (0, -signal.SIGTERM), self.log.read_text()

    def kill_worker(self) -> None:
        """End the newest worker as a crash would, and wait for the next one."""
        before = len(self.workers())
        os.kill(self.workers()[-1], signal.SIGKILL)
        wait_until(lambda: len(self.workers()) > before, self.log.read_text)


def begun_proxy(
    folder: Path,
    *more: str,
    prefix: tuple[str, ...] = (),
    given: tuple[int, ...] = (),
) -> RunningProxy:
    """Start it with two workers; it may not serve yet.

    @param more: options. C{prefix}: who runs it. C{given}: descriptors that it gets.
    """
    log = folder / "proxy.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *prefix,
                *twistd.COMMAND,
                *("--nodaemon", "--pidfile=", "haloy-proxy"),
                *("--workers", "2", "--control", str(folder / "proxy.sock")),
                *("--state-dir", str(folder / "state"), *more),
            ],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            pass_fds=given,
        )
    return RunningProxy(process, log)


@contextmanager
def running_proxy(
    folder: Path,
    *more: str,
    prefix: tuple[str, ...] = (),
    until: str = "haloy-proxy serves",
    given: tuple[int, ...] = (),
) -> Iterator[RunningProxy]:
    """Run it as L{begun_proxy} starts it, from when it serves to the block's end."""
    log = folder / "proxy.log"
    before = log.read_text().count(until) if log.exists() else 0
    made = begun_proxy(folder, *more, prefix=prefix, given=given)
    try:
        wait_until(lambda: log.read_text().count(until) > before, log.read_text)
        yield made
    finally:
        made.end()
