"""The real C{haloy} in a process, in a folder with a haloy.yaml for a real daemon."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.integration.site import Server
from tests.support.haloyd import TOKEN
from tests.support.printed import check_printed

LIMIT_S = 90
SITE = "shop.example.test"


class Command:
    """C{haloy} in a folder, for one server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = f"localhost:{server.daemon.api_port}"
        self.environment = {
            **os.environ,
            **server.docker.environment,
            "HALOY_CONFIG_DIR": str(folder / "client"),
            "HALOY_API_TOKEN": TOKEN,
            "NO_COLOR": "1",
            "SHELL": "/bin/sh",
        }

    def configure(self, **keys: Any) -> None:
        base = {
            "name": "shop",
            "server": self.server,
            "image": {
                "repository": "app",
                "tag": "one",
                "pull_policy": "never",
                "history": {"strategy": "local", "count": 3},
            },
            "domains": [{"domain": SITE}],
            "health_check_path": "/version",
        }
        text = yaml.safe_dump({**base, **keys})
        (self.folder / "haloy.yaml").write_text(text)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "haloy.cli.main", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run the command; return what it prints on stdout."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_S)
            finally:
                process.kill()  # only if it has not ended: the block waits for it
        assert process.returncode == code, f"{arguments}: {out}\n{err}"
        check_printed(arguments, out)
        return out if code == 0 else out + err

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@contextlib.contextmanager
def running(haloy: Command, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that ends by Ctrl+C alone."""
    with haloy.start(*arguments) as process:
        try:
            yield process
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=LIMIT_S)
        finally:
            process.kill()  # only if it has not ended: the block waits for it
    assert process.returncode == 130, f"{arguments}: {out}\n{err}"
