"""A dockerd of the test's own: it can be killed and filled, and nobody minds."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

START_LIMIT_S = 30.0
#: All tests with a Docker of their own run on this one.
DOCKERD = os.environ.get("HALOY_TEST_DOCKERD", "dockerd")


@define(eq=False)
class PrivateDocker:
    """One dockerd with data root, exec root, socket and addresses of its own.

    The socket's path must be short (a UNIX socket has room for 107 bytes), so the
    exec root is in C{/tmp}.

    It runs in a network namespace of its own, to which a route leads: a dockerd that
    starts again after a kill removes the C{docker0} that it finds, and here that is
    nobody's. All bridges go with the namespace.

    @ivar program: the dockerd itself; beside it are the programs that it runs.
    @ivar address: this side of the way there; what listens on it, containers reach.
    """

    folder: Path
    program: str = "dockerd"
    environment: dict[str, str] = field(init=False)
    address: str = field(default="", init=False)
    _subnet: int = field(default=0, init=False)
    _space: str = field(factory=lambda: f"haloyt{secrets.token_hex(4)}", init=False)
    _run: Path = field(init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._run = Path(f"/tmp/haloyd-{secrets.token_hex(4)}")
        self.environment = {"DOCKER_HOST": self.host}

    @property
    def host(self) -> str:
        return f"unix://{self._run}/docker.sock"

    @property
    def large_subnet(self) -> str:
        """Addresses for one network of many containers; the others have 254."""
        return f"10.{self._subnet}.128.0/20"

    @property
    def _path(self) -> str:
        """Its own companions before those of the machine's dockerd."""
        beside, _, _ = self.program.rpartition("/")
        return ":".join(filter(None, (beside, os.environ["PATH"])))

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        self._run.mkdir(mode=0o700, exist_ok=True)
        if not self._subnet:
            self._make_space()
        # After a crash: where nobody reaps it, the dead containerd seems to run.
        (self._run / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        with (self.folder / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "nsenter",  # not "ip netns exec", which hides the control groups
                    f"--net=/run/netns/{self._space}",
                    self.program,
                    f"--data-root={self.folder}/data",
                    f"--exec-root={self._run}/exec",
                    f"--pidfile={self._run}/pid",
                    f"--host={self.host}",
                    f"--bip=10.{self._subnet}.255.1/24",
                    f"--insecure-registry={self.address}/32",
                    "--iptables=false",
                    "--ip6tables=false",
                    "--ip-masq=false",
                    f"--default-address-pool=base=10.{self._subnet}.0.0/17,size=24",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PATH": self._path},
            )
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            if self._ask("info").returncode == 0:
                return
            time.sleep(0.1)
        log_text = (self.folder / "dockerd.log").read_text()
        raise AssertionError(f"dockerd does not start:\n{log_text[-4000:]}")

    def _make_space(self) -> None:
        """Make the namespace, a pair of interfaces, and the routes both ways."""
        near, far = self._space, f"{self._space}x"
        _ip("netns", "add", self._space)
        _ip("link", "add", near, "type", "veth", "peer", far, "netns", self._space)
        _ip("link", "set", near, "up")
        inside = ("-n", self._space)
        _ip(*inside, "link", "set", "lo", "up")
        _ip(*inside, "link", "set", far, "up")
        for subnet in random.sample(range(20, 220), 50):
            # A route that is there belongs to another test's dockerd.
            if _try_ip("route", "add", f"10.{subnet}.0.0/16", "dev", near):
                self._subnet = subnet
                break
        net = f"10.{self._subnet}.254"
        self.address = f"{net}.1"
        _ip("address", "add", f"{net}.1/30", "dev", near)
        _ip(*inside, "address", "add", f"{net}.2/30", "dev", far)
        _ip(*inside, "route", "add", "default", "via", f"{net}.1")
        _ip("route", "replace", f"10.{self._subnet}.0.0/16", "via", f"{net}.2")

    def reach_by_ipv6(self) -> str:
        """Make a way to containers by IPv6 too; return a subnet for a network."""
        prefix = f"fd68:616c:{self._subnet}"
        inside = ("-n", self._space)
        _ip("address", "add", f"{prefix}:ffff::1/64", "dev", self._space, "nodad")
        far = f"{self._space}x"
        _ip(*inside, "address", "add", f"{prefix}:ffff::2/64", "dev", far, "nodad")
        _ip(*inside, "route", "add", "default", "via", f"{prefix}:ffff::1")
        _ip("route", "add", f"{prefix}::/48", "via", f"{prefix}:ffff::2")
        forwarding = "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"
        space = f"--net=/run/netns/{self._space}"
        subprocess.run(["nsenter", space, "sh", "-c", forwarding], check=True)
        return f"{prefix}:1::/64"

    @contextmanager
    def unreached_subnet(self) -> Iterator[str]:
        """Give a subnet for a network to whose containers no packet gets from here."""
        # Narrower than the bridge's own route, which it goes before.
        lost = ("blackhole", f"10.{self._subnet}.200.0/25")
        _ip("-n", self._space, "route", "add", *lost)
        try:
            yield f"10.{self._subnet}.200.0/24"
        finally:
            _ip("-n", self._space, "route", "delete", *lost)

    def docker(self, *arguments: str) -> str:
        """Return what C{docker …} prints."""
        done = self._ask(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", *arguments],
            env={**os.environ, **self.environment, "DOCKER_BUILDKIT": "0"},
            capture_output=True,
            text=True,
            check=False,
        )

    def clear(self, images: Collection[str], networks: Collection[str] = ()) -> None:
        """Remove everything but C{images}: deployment ids repeat from test to test.

        The network that C{haloyd init} makes stays, and C{networks} do.
        """
        kept_networks = {"haloy", *networks}
        custom = ("network", "ls", "--filter", "type=custom", "--format", "{{.Name}}")
        for listed, removed in (
            (("ps", "-aq"), ("rm", "-fv")),
            (custom, ("network", "rm")),
            (("volume", "ls", "-q"), ("volume", "rm", "-f")),
        ):
            found = set(self.docker(*listed).split()) - kept_networks
            if found:
                self.docker(*removed, *found)
        kept = {self.docker("images", "-q", one) for one in images}
        tags = self.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        going = [one for one in tags if one not in images and "<none>" not in one]
        if going:
            self.docker("rmi", "-f", *going)
        # A layer of what stays has no name either, and cannot be removed.
        nameless = set(self.docker("images", "-q", "-f", "dangling=true").split())
        if nameless - kept:
            self._ask("rmi", *nameless - kept)

    def kill(self) -> None:
        """End dockerd as a loss of power would, and everything that it runs."""
        self.crash()
        self._reap()

    def crash(self) -> None:
        """End dockerd alone: what it runs goes on until it is started again."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def remove(self) -> None:
        """End it, its containers and its files."""
        if self._process is not None and self._process.poll() is None:
            ids = self._ask("ps", "-aq").stdout.split()
            if ids:
                self._ask("rm", "-fv", *ids)
            for name in self._ask(
                "network", "ls", "-q", "--filter", "type=custom"
            ).stdout.split():
                self._ask("network", "rm", name)
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reap()
        _try_ip("link", "delete", self._space)
        _try_ip("netns", "delete", self._space)
        subprocess.run(
            ["umount", "-R", str(self.folder / "data")],
            capture_output=True,
            check=False,
        )
        shutil.rmtree(self._run, ignore_errors=True)
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def _reap(self) -> None:
        """End what belongs to this dockerd: its containerd, shims and containers.

        They are told by the exec root in their command line and by their cgroup.
        """
        for process in Path("/proc").iterdir():
            if not process.name.isdigit() or int(process.name) == os.getpid():
                continue
            try:
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue
            if f"{self._run}/exec".encode() in command:
                children = _children(int(process.name))
                for pid in (*children, int(process.name)):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        places = [line.split()[1] for line in reversed(mounts)]
        ours = [
            one for one in places if one.startswith((str(self._run), str(self.folder)))
        ]
        if ours:  # hundreds, at times: not a process for each
            subprocess.run(["umount", "-l", *ours], check=False)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def _try_ip(*arguments: str) -> bool:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True)
    return done.returncode == 0


def _children(parent: int) -> list[int]:
    """Return the descendants of a process, deepest first."""
    found: list[int] = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            pids = [int(one) for one in task.read_text().split()]
        except OSError:
            continue
        for pid in pids:
            found += [*_children(pid), pid]
    return found


@contextmanager
def private_dockerd(folder: Path, program: str = DOCKERD) -> Iterator[PrivateDocker]:
    """Run a dockerd in C{folder}; skip where none can run, fail in CI."""
    if os.geteuid() != 0 or shutil.which(program) is None:
        reason = "a private dockerd needs root and the dockerd program"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder.mkdir(parents=True, exist_ok=True)
    docker = PrivateDocker(folder, program)
    try:
        docker.start()
        yield docker
    finally:
        docker.remove()
