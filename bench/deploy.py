"""Measure a warm deployment of one replica: from `haloy deploy` to the first answer.

usage: python -m bench.deploy [--rounds N] [--other FOLDER] [--lines]

Two kinds, each on a haloyd and Docker of their own: `local`, where the server is this
machine and the image is only built, and `sent`, where it is reached by TLS and gets
what it lacks of the image. Each round deploys `examples/hello` in another version, so
that Docker builds it anew. Told are the seconds from the start of the process to the
first answer of the new version and to its end, and its processor time with that of the
docker commands it runs. With `--other`, rounds alternate with the command of another
checkout; `--lines` shows when each line was said.
"""

from __future__ import annotations

import argparse
import http.client
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import define, field

from tests.integration.site import Client, Server, server, write_certificate
from tests.support.dockerd import private_dockerd
from tests.support.haloyd import ROOT, TOKEN

API = "api.haloybench.localhost"
SITE = "hello.example.test"
MUST_S = 1.5
LOOK_EACH_S = 0.01
LIMIT_S = 60.0


@define(eq=False)
class Kind:
    """One server and the project that is deployed to it."""

    name: str
    project: Path
    site: Server
    environment: Mapping[str, str]


@define(eq=False)
class Figures:
    """What rounds took, in seconds."""

    first: list[float] = field(factory=list)
    whole: list[float] = field(factory=list)
    cpu: list[float] = field(factory=list)


class Watch:
    """Looks for a version by a kept connection until it answers."""

    def __init__(self, site: Server, version: str) -> None:
        self._client = Client(SITE, site.daemon.https_port)
        self._version = version
        self._thread = threading.Thread(target=self._look)
        self.seen_s = 0.0

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> float:
        """Return when the version was seen first."""
        self._thread.join()
        self._client.close()
        return self.seen_s

    def _look(self) -> None:
        end_s = time.monotonic() + LIMIT_S
        while time.monotonic() < end_s:
            try:
                if self._client.ask("/version") == (200, self._version):
                    self.seen_s = time.monotonic()
                    return
            except (OSError, http.client.HTTPException):
                self._client.close()
            time.sleep(LOOK_EACH_S)  # noqa: TID251 - a script, no reactor


def deploy(kind: Kind, code: Path, version: str, lines: bool) -> list[float]:
    """Deploy once; return the seconds to the first answer, to the end, and of CPU."""
    told = {"HELLO_VERSION": version, "PYTHONPATH": str(code)}
    environment = {**kind.environment, **told}
    watch = Watch(kind.site, version)
    watch.start()
    began_s = time.monotonic()
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("haloy")), "deploy"],
        cwd=kind.project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = [f"{time.monotonic() - began_s:6.3f} {line}" for line in process.stdout]
    _, status, used = os.wait4(process.pid, 0)
    ended_s = time.monotonic()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the deployment failed:\n{''.join(said)}")
    first_s = watch.wait() - began_s
    if lines:
        print("".join(said), end="")
    return [first_s, ended_s - began_s, used.ru_utime + used.ru_stime]


@contextmanager
def kinds(folder: Path) -> Iterator[list[Kind]]:
    """Run both servers; what is sent is built in a Docker that is not the server's."""
    with ExitStack() as stack:
        made = []
        for name in ("local", "sent"):
            place = folder / name
            write_certificate(place / "data" / "certs", API)
            there = stack.enter_context(private_dockerd(place / "there"))
            site = stack.enter_context(server(place, there, api={"domain": API}))
            here, address = there, f"localhost:{site.daemon.api_port}"
            if name == "sent":
                here = stack.enter_context(private_dockerd(place / "here"))
                address = f"{API}:{site.daemon.https_port}"
            environment = {
                **os.environ,
                **here.environment,
                "HALOY_CONFIG_DIR": str(place / "client"),
                "SSL_CERT_FILE": str(place / "data" / "certs" / f"{API}.pem"),
                "HALOY_API_TOKEN": TOKEN,
            }
            project = write_project(place / "project", address)
            made.append(Kind(name, project, site, environment))
        yield made


def write_project(folder: Path, address: str) -> Path:
    """Write the example, as one replica on the server at C{address}."""
    shutil.copytree(ROOT / "examples" / "hello", folder)
    shutil.copy("/bin/busybox", folder / "busybox")
    text = (folder / "haloy.yaml").read_text()
    names = text.index("domains:"), text.index("port:")
    text = f"{text[: names[0]]}domains: [{{domain: {SITE}}}]\n\n{text[names[1] :]}"
    text = text.replace("replicas: 2", "replicas: 1")
    (folder / "haloy.yaml").write_text(f"{text}server: {address}\n")
    return folder


def tell(name: str, what: str, values: Sequence[float], must: str = "") -> None:
    print(
        f"{name:12} {what:16} {statistics.median(values):.2f}"
        f" [{min(values):.2f}-{max(values):.2f}] s{must}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--lines", action="store_true")
    given = parser.parse_args()
    codes = {"": ROOT, **({"other": given.other.resolve()} if given.other else {})}
    figures: dict[str, Figures] = {}
    with (
        tempfile.TemporaryDirectory(prefix="haloy-bench-") as folder,
        kinds(Path(folder)) as both,
    ):
        for number in range(given.rounds + 1):
            for kind in both:
                for which, code in codes.items():
                    name = f"{kind.name} {which}".strip()
                    found = deploy(kind, code, f"{number}{which}", given.lines)
                    if not number:
                        continue  # the first is no warm one
                    to = figures.setdefault(name, Figures())
                    for values, one in zip(
                        (to.first, to.whole, to.cpu), found, strict=True
                    ):
                        values.append(one)
                    print(f"{name:12} {' '.join(f'{one:.2f}' for one in found)}")
    for name, all_of in figures.items():
        tell(name, "first new answer", all_of.first, f"   must {MUST_S}")
        tell(name, "whole command", all_of.whole)
        tell(name, "processor time", all_of.cpu)


if __name__ == "__main__":
    main()
