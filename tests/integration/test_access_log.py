"""The access log of a real haloyd with a real haloy-proxy. No Docker is needed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.haloyd import TOKEN, RunningDaemon, running_daemon
from tests.support.ports import free_port
from tests.support.proxy import RunningProxy, running_proxy
from tests.support.waiting import wait_until

Both = tuple[RunningDaemon, RunningProxy]


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Both]:
    """Give a haloyd whose Docker is away, and a proxy with two workers."""
    # It is never all well then, but it is told of everything.
    monkeypatch.setattr(
        RunningDaemon, "ready", lambda one: "is ready" in one.log_text()
    )
    where = f"127.0.0.1:{free_port()}"
    settings = {
        "mode": "split",
        "control": str(tmp_path / "proxy.sock"),
        "http": where,
    }
    with (
        running_proxy(tmp_path, "--http", where, "--https", "") as proxy,
        running_daemon(
            tmp_path,
            {"DOCKER_HOST": f"unix://{tmp_path}/no-docker.sock"},
            log={"access": "json"},
            proxy=settings,
        ) as haloyd,
    ):
        yield haloyd, proxy


def ask(haloyd: RunningDaemon, target: str) -> None:
    """Send a request that is answered, if not by an app."""
    connection = http.client.HTTPConnection("127.0.0.1", haloyd.http_port, timeout=10)
    try:
        connection.request("GET", target, headers={"Host": "nobody.example.com"})
        assert connection.getresponse().status == 404
    finally:
        connection.close()


@contextmanager
def load(haloyd: RunningDaemon) -> Iterator[list[str]]:
    """Send requests meanwhile; gives what was asked for and answered."""
    asked: list[str] = []
    end = threading.Event()

    def client(name: int) -> None:
        count = 0
        while not end.is_set():
            target = f"/{name}/{count}"
            ask(haloyd, target)
            asked.append(target)
            count += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    try:
        yield asked
    finally:
        end.set()
        for thread in threads:
            thread.join()


def lines(path: Path) -> list[dict[str, Any]]:
    """Return what stands there; a torn line is no JSON and fails."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def is_logged(haloyd: RunningDaemon, target: str, log: Path) -> bool:
    """Send one more request; return whether there are lines by now."""
    ask(haloyd, target)
    return bool(lines(log))


def test_haloyd_is_killed(both: Both) -> None:
    """Lines go on while it is away, of new workers too; none is lost or twice there."""
    haloyd, proxy = both
    log = haloyd.data / "logs" / "access.log"
    # The first lines are written when the workers have been told of the file.
    wait_until(lambda: is_logged(haloyd, "/first", log), haloyd.log_text)
    with load(haloyd) as asked:
        time.sleep(0.5)
        haloyd.kill()
        known = {line["target"] for line in lines(log)}
        proxy.reload()
        time.sleep(1.5)
        while_away = {line["target"] for line in lines(log)} - known
        haloyd.start()
        time.sleep(0.5)
    wait_until(
        lambda: {one["target"] for one in lines(log)} >= set(asked), haloyd.log_text
    )
    assert len(while_away) > 10
    found = [one["target"] for one in lines(log) if one["target"] != "/first"]
    assert sorted(found) == sorted(asked)


def test_signals_readers_and_metrics(both: Both) -> None:
    """As in one process: logrotate by SIGHUP, live readers, lines that were lost."""
    haloyd, _ = both
    log = haloyd.data / "logs" / "access.log"
    wait_until(lambda: is_logged(haloyd, "/first", log), haloyd.log_text)
    old = log.rename(log.with_name("old"))
    os.kill(haloyd.pid, signal.SIGHUP)
    wait_until(log.exists, haloyd.log_text)
    wait_until(lambda: is_logged(haloyd, "/now?x=1", log), haloyd.log_text)
    assert {one["target"] for one in lines(log)} == {"/now?***"}
    assert "/first" in {one["target"] for one in lines(old)}

    request = urllib.request.Request(
        f"http://127.0.0.1:{haloyd.api_port}/v1/server-logs?access-logs=true",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    end = threading.Event()

    def keep_asking() -> None:
        while not end.wait(0.1):
            ask(haloyd, "/seen?password=1")

    asking = threading.Thread(target=keep_asking)
    with urllib.request.urlopen(request, timeout=30) as stream:
        asking.start()
        try:
            seen = next(line for line in stream if b'"message":"request"' in line)
        finally:
            end.set()
            asking.join()
    assert json.loads(seen[6:])["fields"]["path"] == "/seen?***"
    assert "haloy_access_log_lost_total 0\n" in haloyd.api("GET", "/metrics")[1]
