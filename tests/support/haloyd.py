"""A real haloyd in a process of its own, and the real command line beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field

from tests.support import twistd
from tests.support.ports import free_ports

ROOT = Path(__file__).parents[2]
TOKEN = "a" * 64
START_LIMIT_S = 90.0
STOP_LIMIT_S = 40.0


@define(eq=False)
class RunningDaemon:
    """One haloyd with directories and ports of its own.

    @ivar prefix: the command that starts it, from the next start on.
    @ivar reactor: the name of the one it runs on, likewise.
    """

    folder: Path
    settings: Mapping[str, Any]
    api_port: int
    http_port: int
    https_port: int
    environment: Mapping[str, str] = field(factory=dict)
    prefix: tuple[str, ...] = field(default=(), init=False)
    reactor: str = field(default="epoll", init=False)
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def config(self) -> Path:
        return self.folder / "config"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "haloyd.log"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def configure(self) -> None:
        """Write the configuration and the token, as C{haloyd init} would."""
        for path in (self.config, self.data):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.config / "haloyd.yaml").write_text(yaml.safe_dump(dict(self.settings)))
        (self.config / ".env").write_text(f'HALOY_API_TOKEN="{TOKEN}"\n')
        (self.config / ".env").chmod(0o600)

    def start(self, wait: bool = True) -> None:
        """Start the daemon; return when it says that it is ready, or at once."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    *twistd.COMMAND,
                    "--nodaemon",
                    "--pidfile=",
                    f"--reactor={self.reactor}",
                    "haloyd",
                    "--config-dir",
                    str(self.config),
                    "--data-dir",
                    str(self.data),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, **self.environment},
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, limit_s: float = START_LIMIT_S) -> None:
        """Return when C{/health/ready} is true; show the log when it never is."""
        assert self.process is not None
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"haloyd ended:\n{self.log_text()}")
            if self.ready():
                return
            time.sleep(0.05)
        raise AssertionError(f"haloyd is not ready:\n{self.log_text()}")

    def ready(self) -> bool:
        """Return whether the daemon says that all of it works."""
        try:
            status, _ = self.api("GET", "/health/ready")
        except OSError:
            return False
        return status == 200

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask it to end, as systemd would, and insist after a while."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM ignored:\n{self.log_text()}") from None

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str = TOKEN,
        limit_s: float = 10.0,
    ) -> tuple[int, str]:
        """Return status and text of one API call on loopback."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.api_port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=limit_s) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def haloy(
        self, *arguments: str, cwd: Path | None = None, limit_s: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as a person on this machine would."""
        home = self.folder / "client"
        home.mkdir(mode=0o700, exist_ok=True)
        return subprocess.run(
            [str(Path(sys.executable).with_name("haloy")), *arguments],
            cwd=cwd or self.folder,
            env={
                **os.environ,
                "HALOY_CONFIG_DIR": str(home),
                "HALOY_API_TOKEN": TOKEN,
                "NO_COLOR": "1",
                "DOCKER_BUILDKIT": "0",
            },
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )


@contextmanager
def running_daemon(
    folder: Path, environment: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[RunningDaemon]:
    """Run haloyd in C{folder}; C{settings} are top-level keys of C{haloyd.yaml}."""
    api, http, https = free_ports(3)
    proxy = {
        "http": f"127.0.0.1:{http}",
        "https": f"127.0.0.1:{https}",
        "mode": "embedded",
        **settings.pop("proxy", {}),
    }
    daemon = RunningDaemon(
        folder=folder,
        settings={
            "api": {"listen": f"127.0.0.1:{api}", **settings.pop("api", {})},
            "proxy": proxy,
            **settings,
        },
        api_port=api,
        http_port=int(str(proxy["http"]).rpartition(":")[2]),
        https_port=int(str(proxy["https"]).rpartition(":")[2]),
        environment=environment or {},
    )
    daemon.configure()
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()
