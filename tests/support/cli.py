"""The real command in a process, against the real API over fakes in this one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from attrs import define, field
from twisted.internet.threads import deferToThread

from haloy.api.service import ApiListener
from haloy.proxy.interface import Program
from tests.fakes.certificates import FakeCertificates
from tests.fakes.database import MemoryDatabase
from tests.fakes.deployments import FakeDeployments
from tests.fakes.engine import FakeEngine
from tests.support.api import TOKEN, make_api
from tests.support.printed import check_printed
from tests.support.tty import HALOY, Tty

T = TypeVar("T")


@define(eq=False)
class Bench:
    """A server of ours, and a folder to call C{haloy} in."""

    reactor: Any
    folder: Path
    deployments: FakeDeployments = field(factory=FakeDeployments)
    engine: FakeEngine = field(factory=FakeEngine)
    database: MemoryDatabase = field(factory=MemoryDatabase)
    certificates: FakeCertificates = field(factory=FakeCertificates)
    serving: tuple[Program, ...] = (Program("", "interpreted"),)
    listener: Any = None
    environment: dict[str, str] = field(factory=dict)

    async def start(self) -> None:
        api = make_api(
            self.reactor,
            self.folder,
            self.deployments,
            self.engine,
            self.database,
            certificates=self.certificates,
            serving=lambda: self.serving,
        )
        socket = self.folder / "api.sock"
        self.listener = ApiListener(
            self.reactor, api.resource(), "127.0.0.1:0", socket, api.gate
        )
        await self.listener.start()

    @property
    def server(self) -> str:
        return f"127.0.0.1:{self.listener.port}"

    def configure(self, **keys: Any) -> None:
        base = {"name": "shop", "server": self.server, "image": "shop:1"}
        (self.folder / "haloy.yaml").write_text(yaml.safe_dump({**base, **keys}))

    async def stop(self) -> None:
        """Listen no more."""
        await self.listener.stop()
        self.database.close()

    def variables(self, *set_ones: str, **more: str) -> dict[str, str]:
        """Return the environment of a command; C{set_ones} are 1, C{more} as given."""
        return {
            **os.environ,
            "HALOY_CONFIG_DIR": str(self.folder / "client"),
            "HALOY_API_TOKEN": TOKEN,
            "SHELL": "/bin/sh",
            **dict.fromkeys(set_ones, "1"),
            **self.environment,
            **more,
        }

    async def in_terminal(
        self,
        use: Callable[[Tty], T],
        *arguments: str,
        columns: int = 80,
        program: Sequence[str] = HALOY,
        **more: str,
    ) -> T:
        """Run the command in a terminal; C{use} is its person, in a thread."""

        def sit() -> T:
            variables = self.variables(**more)
            with Tty(
                self.folder, variables, *arguments, columns=columns, program=program
            ) as tty:
                return use(tty)

        result: T = await deferToThread(sit)
        return result

    async def haloy(
        self, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in the folder; this process goes on serving meanwhile."""
        variables = self.variables("NO_COLOR", **(environment or {}))
        done: subprocess.CompletedProcess[str] = await deferToThread(
            subprocess.run,
            [sys.executable, "-m", "haloy.cli.main", *arguments],
            cwd=self.folder,
            env=variables,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        check_printed(arguments, done.stdout)
        return done
