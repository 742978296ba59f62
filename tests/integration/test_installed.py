"""install.sh and C{haloyd upgrade} for real, on a machine with systemd.

Haloy is installed from its wheel; the packages it needs are those of the tests, so
nothing is downloaded.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.checkout import PACKAGED, ROOT, copy_checkout
from tests.support.dockerd import PrivateDocker
from tests.support.machine import Machine, machine

pytestmark = [pytest.mark.docker, pytest.mark.slow]

#: Where the tests' packages are on that machine, and those of them that Haloy needs.
PACKAGES, NEEDED = "/opt/tests-packages", "/opt/tests-needed"

#: Short, yet longer than a start on a busy machine keeps the event loop from turning.
WATCHDOG_S = 4
DOCKER = "/run/docker.sock"
ACCESS_LOG = "/var/lib/haloy/logs/access.log"
LOW_PORTS = 1 << 10  # CAP_NET_BIND_SERVICE
#: What systemd says, what the unit says, where modules are: nothing that is secret.
PROXY_VARIABLES = {
    *("PATH", "LANG", "HOME", "LOGNAME", "USER", "SHELL", "PYTHONPATH"),
    *("INVOCATION_ID", "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "STATE_DIRECTORY"),
    *("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "PYTHONDONTWRITEBYTECODE"),
    *("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "HALOY_SHARE"),
}
#: Two that ask a port on kept connections, two on new ones, until the input ends; then
#: they tell what came of it. New connections wait in systemd's socket as long as they
#: must. A kept one that ends between two requests is left for a new one, as clients do
#: (RFC 9112 section 9.3.1).
CLIENTS = """
import collections, http.client, json, sys, threading
over, answers = threading.Event(), collections.Counter()
def ask(kept):
    client, asked = None, 0
    while not over.wait(0.02):
        if client is None:
            client, asked = http.client.HTTPConnection("127.0.0.1", port, timeout=60), 0
        try:
            client.request("GET", "/")
            answer = client.getresponse()
            answer.read()
            answers[str(answer.status)] += 1
            asked += 1
        except Exception as problem:
            ended = asked and isinstance(problem, ConnectionError)
            answers["repeated" if ended else repr(problem)] += 1
            client.close()
        if client.sock is None or not kept:
            client.close()
            client = None
port = int(sys.argv[1])
threads = [threading.Thread(target=ask, args=(number % 2,)) for number in range(4)]
for one in threads: one.start()
sys.stdin.read()
over.set()
for one in threads: one.join()
print(json.dumps(answers))
"""
#: One that has begun with its request, and ends it when the input ends.
BEGUN = """
import socket, sys
client = socket.create_connection(("127.0.0.1", 80), 60)
client.sendall(b"GET / HTTP/1.1\\r\\nHost: begun.example.test\\r\\n")
print("begun", flush=True)
sys.stdin.read()
client.sendall(b"\\r\\n")
print(client.recv(4096).split()[1].decode())
"""
#: What a release looks like that can do everything but start.
BROKEN = """
def makeService(options):
    raise SystemExit("this release is broken")
"""


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the wheel of this checkout, a newer one, and a newest that is broken."""
    folder = tmp_path_factory.mktemp("wheels")
    checkout = copy_checkout(tmp_path_factory.mktemp("checkout"))
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--no-index"),
            *("--wheel-dir", str(folder), str(checkout)),
        ],
        env={**os.environ, "HALOY_COMPILED": "0"},
        check=True,
    )
    (wheel,) = folder.glob("haloy-*.whl")
    release(wheel, "97.0")
    release(wheel, "98.0")
    release(wheel, "98.5", {"haloy/proxy/control/protocol.py": "PROTOCOL += 1\n"})
    release(wheel, "99.0", {"haloy/tap.py": BROKEN})
    return folder


def release(wheel: Path, version: str, more: Mapping[str, str] | None = None) -> None:
    """Make C{wheel} another version, with C{more} at the end of these files.

    It brings the command twistd, as Twisted would if it were installed there.
    """
    before = wheel.name.split("-")[1]
    made = wheel.with_name(f"haloy-{version}-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            text = old.read(name).decode()
            text += (more or {}).get(name, "")
            if name.endswith("/entry_points.txt"):
                text += "twistd = twisted.scripts.twistd:run\n"
            elif name.endswith(("/METADATA", "/RECORD")):
                text = text.replace(f"Version: {before}", f"Version: {version}")
                text = text.replace(f"haloy-{before}.", f"haloy-{version}.")
            name = name.replace(f"haloy-{before}.", f"haloy-{version}.")
            new.writestr(name, text)


@pytest.fixture
def server(tmp_path: Path, docker: PrivateDocker, wheels: Path) -> Iterator[Machine]:
    """Give a machine with systemd and Docker, and nothing of Haloy."""
    socket = Path(docker.host.removeprefix("unix://"))
    packages = Path(sysconfig.get_path("purelib"))
    binds = {
        socket: "/run/docker.sock",
        packages: PACKAGES,
        wheels: "/opt/wheels",
        ROOT / "install.sh": "/opt/haloy-source/install.sh",
        ROOT / "systemd": "/opt/haloy-source/systemd",
        ROOT: "/opt/of-the-checkout",
    }
    with machine(tmp_path / "machine", binds) as made:
        asked = made.told("python3", "-c", "import sys; print(*sys.version_info[:2])")
        if asked != " ".join(str(part) for part in sys.version_info[:2]):
            pytest.skip(f"the system's Python is {asked}, the tests' is another")
        made.told("mkdir", NEEDED)
        for one in packages.iterdir():
            if not one.name.startswith(("haloy", "__editable__")):
                made_link = f"{PACKAGES}/{one.name}"
                os.symlink(made_link, f"/proc/{made.pid}/root{NEEDED}/{one.name}")
        made.variables |= {
            "PYTHONPATH": NEEDED,
            "PIP_NO_DEPS": "1",
            "PIP_NO_INDEX": "1",
            "PIP_NO_COMPILE": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        made.told("systemctl", "set-environment", f"PYTHONPATH={NEEDED}")
        # As Docker's package has it: a group that may use the socket.
        made.told("sh", "-c", "getent group docker || groupadd --system docker")
        made.told("chgrp", "docker", "/run/docker.sock")
        yield made


def install(server: Machine, *options: str) -> str:
    return server.told(*installation(), *options)


def installation() -> tuple[str, ...]:
    return "sh", "/opt/haloy-source/install.sh", "--wheel", wheel("97.0")


def wheel(version: str) -> str:
    return f"/opt/wheels/haloy-{version}-py3-none-any.whl"


@contextmanager
def port_taken(server: Machine, port: int) -> Iterator[None]:
    """Let somebody else listen on a port of the machine."""
    listen = f"--socket-property=ListenStream={port}"
    server.told("systemd-run", "--unit=taken", listen, "true")
    yield
    server.told("systemctl", "stop", "taken.socket")


def status_of(server: Machine, port: int) -> int:
    """Return what a plain request to the machine is answered with."""
    script = (
        "import http.client as h; c = h.HTTPConnection('127.0.0.1', "
        f"{port}, timeout=10); c.request('GET', '/'); print(c.getresponse().status)"
    )
    return int(server.told("python3", "-c", script))


def verified(server: Machine) -> dict[str, bool]:
    report = json.loads(server.told("haloyd", "verify", "--json"))
    return {one["name"]: not one["problem"] for one in report["checks"]}


def capabilities(server: Machine, unit: str) -> int:
    """Return what a unit's main process may do."""
    return int(status(server, server.show(unit, "MainPID"))["CapEff"], 16)


def test_two_services(server: Machine) -> None:
    """Installed, reloaded, upgraded, not upgraded to what is broken, removed.

    The first attempt finds port 80 taken, and says so. The next one finds a haloy-proxy
    that has started without its socket, and makes that good.
    """
    no_domain(server)
    with port_taken(server, 80):
        refused = server.run(*installation())
        server.told("systemctl", "stop", "haloy-proxy")
    assert refused.returncode == 1
    assert "API token:" in refused.stdout
    assert "port 80 of :: is in use" in refused.stderr
    alone = "--job-mode=ignore-dependencies"
    server.told("systemctl", "start", alone, "haloy-proxy")
    assert server.show("haloy-proxy.socket", "ActiveState") != "active"
    install(server)
    assert server.show("haloy-proxy.socket", "ActiveState") == "active"
    assert all(verified(server).values())
    assert status_of(server, 80) == 404
    for unit, user in (("haloyd", "haloy"), ("haloy-proxy", "haloy-proxy")):
        assert server.show(unit, "User") == user
        assert server.show(unit, "NRestarts") == "0"
    assert capabilities(server, "haloyd") == 0
    confined(server)
    journal = server.journal("--unit=haloyd", "--unit=haloy-proxy")
    assert "is ready" in journal
    assert "plugin cache" not in journal, journal
    fields = json.loads(
        server.told("journalctl", "--unit=haloyd", "--grep=is ready", "--output=json")
    )
    assert fields["API"] == "9922"  # a field of its own, not text
    said = server.told(
        *("journalctl", "--unit=haloy-proxy", "--output=json", "--lines=1"),
        "--grep=haloy-proxy serves",
    )
    assert json.loads(said)["SYSLOG_IDENTIFIER"] == "haloy-proxy"

    begun = "/opt/haloy/venvs/20990101T000000Z"
    server.told("mkdir", begun)  # by one that was killed
    again = install(server, "--api-domain", "other.example.test")
    assert len(server.told("ls", "/opt/haloy/venvs").split()) == 2
    assert server.run("test", "-e", begun).returncode == 1
    assert "haloyd config set api.domain other.example.test" in again
    assert "kept" in again
    assert "API token:" not in again
    for unit in ("haloyd", "haloy-proxy"):
        before = server.show(unit, "MainPID")
        server.told("systemctl", "reload", unit)
        assert server.show(unit, "MainPID") == before
        assert server.show(unit, "ActiveState") == "active"

    hung(server)
    crashed(server)
    done = json.loads(server.told("haloyd", "upgrade", wheel("98.0"), "--json"))
    assert done["after"] == "98.0"
    assert running(server) == "98.0"
    server.told("systemctl", "reload", "haloy-proxy")
    # The link's python, which is the new version's: not the one it was started by.
    assert {one.split()[0] for one in workers(server)} == {"/opt/haloy/venv/bin/python"}
    assert status_of(server, 80) == 404
    # What the running haloy-proxy would not understand: it is started anew, too.
    with asking(server):
        server.told("haloyd", "upgrade", wheel("98.5"))
    assert running(server) == "98.5"
    assert all(verified(server).values())
    broken = server.run("haloyd", "upgrade", wheel("99.0"))
    assert broken.returncode == 1
    assert "haloyd 98.5 runs again" in broken.stderr, broken.stderr
    assert running(server) == "98.5"
    assert all(verified(server).values())
    assert len(server.told("ls", "/opt/haloy/venvs").split()) == 2

    refused = server.run("sh", "-c", "echo n | haloyd uninstall")
    assert refused.returncode == 1
    assert server.show("haloyd", "ActiveState") == "active"
    server.told("haloyd", "uninstall", "--yes")
    assert server.show("haloyd", "ActiveState") == "inactive"
    assert server.run("test", "-e", "/opt/haloy").returncode == 1
    assert "haloyd.yaml" in server.told("ls", "/etc/haloy")
    assert "db" in server.told("ls", "/var/lib/haloy")


def no_domain(server: Machine) -> None:
    """See that C{--api-domain} is looked at before anything is switched.

    What has not the shape of a domain is refused before anything is made.
    """
    for name, made in (("bad name", ""), ("https://a.b", ""), ("a_b.test", "venvs")):
        options = ("--no-start", "--api-domain", name)
        refused = server.run(*installation(), *options)
        assert refused.returncode == 1
        assert f"'{name}' is not a domain" in refused.stderr
        assert server.run("ls", "/opt/haloy").stdout.strip() == made
    server.told("mount", "-t", "tmpfs", "-o", "size=16m", "small", "/opt/haloy/venvs")
    full = server.run(*installation())
    server.told("umount", "/opt/haloy/venvs")
    assert full.returncode == 1
    assert (
        "/opt/haloy/venvs has 16 MiB left, and a version needs 200 MiB" in full.stderr
    )
    busy = server.run("flock", "/opt/haloy", *installation())
    assert busy.returncode == 1
    assert "another installation or upgrade is under way" in busy.stderr
    assert server.run("ls", "/opt/haloy/venvs").stdout == ""


@contextmanager
def asking(server: Machine) -> Iterator[None]:
    """See that every request is answered until the block ends, by the proxy itself."""
    there = [*server.command("python3", "-c", CLIENTS), "80"]
    with subprocess.Popen(
        there, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as clients:
        yield
        told, _ = clients.communicate(timeout=120)
    answers = json.loads(told)
    print(f"answers and how many: {answers}")
    assert answers.pop("repeated", 0) <= 2
    assert set(answers) == {"404"}


def confined(server: Machine) -> None:
    """See that neither the proxy's supervisor nor a worker has what it does not need.

    By what the kernel says of the processes that systemd has started by our unit.
    """
    assert reach(server, server.show("haloyd", "MainPID"), DOCKER) == 0
    main = server.show("haloy-proxy", "MainPID")
    all_workers = server.told("pgrep", "--parent", main).split()
    assert all_workers
    own = server.told("id", "-u", "haloy-proxy"), server.told("id", "-g", "haloy-proxy")
    for pid in (main, *all_workers):
        found = status(server, pid)
        assert [set(found[one].split()) for one in ("Uid", "Gid")] == [
            {one} for one in own
        ]
        assert set(found["Groups"].split()) <= {own[1]}
        held = {int(found[f"Cap{one}"], 16) for one in ("Inh", "Prm", "Eff", "Amb")}
        assert held == {0}
        # Who may not change this set (CAP_SETPCAP) keeps what systemd left in it: of no
        # use, as no program started from here gets anything any more.
        assert int(found["CapBnd"], 16) == LOW_PORTS
        assert (found["NoNewPrivs"].strip(), found["Seccomp"].strip()) == ("1", "2")
        for path in (DOCKER, "/var/lib/haloy", "/etc/haloy"):
            assert reach(server, pid, path) == errno.EACCES, path
        assert files(server, pid) <= {"/dev/null", ACCESS_LOG}
        assert variables(server, pid) <= PROXY_VARIABLES


def status(server: Machine, pid: str) -> dict[str, str]:
    """Return what the kernel says of a process."""
    lines = server.told("cat", f"/proc/{pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def reach(server: Machine, pid: str, path: str) -> int:
    """Return what hinders a process from a socket or a folder: an errno, 0: nothing.

    Tried by a program with its user, its groups and its files.
    """
    found = status(server, pid)
    groups = ",".join(found["Groups"].split())
    script = (
        "import os, socket, stat, sys\n"
        "path = sys.argv[1]\n"
        "try:\n"
        "    if stat.S_ISDIR(os.stat(path).st_mode): os.listdir(path)\n"
        "    else: socket.socket(socket.AF_UNIX).connect(path)\n"
        "except OSError as problem: print(problem.errno)\n"
        "else: print(0)\n"
    )
    told = server.told(
        *("nsenter", f"--target={pid}", "--mount", "setpriv"),
        *(f"--reuid={found['Uid'].split()[0]}", f"--regid={found['Gid'].split()[0]}"),
        f"--groups={groups}" if groups else "--clear-groups",
        *("python3", "-c", script, path),
    )
    return int(told)


def files(server: Machine, pid: str) -> set[str]:
    """Return the files by name that a process has open."""
    script = (
        "import os, sys; at = sys.argv[1]\n"
        "for one in os.listdir(at): print(os.readlink(os.path.join(at, one)))"
    )
    told = server.told("python3", "-c", script, f"/proc/{pid}/fd").splitlines()
    return {one for one in told if one.startswith("/") and "memfd:" not in one}


def variables(server: Machine, pid: str) -> set[str]:
    """Return the names in the environment that a process was started with."""
    told = server.told("cat", f"/proc/{pid}/environ").split("\0")
    return {one.partition("=")[0] for one in told if one}


def test_a_checkout_is_installed(server: Machine) -> None:
    """By its own script: what it holds, and no wheel that was made of it once."""
    checkout = "/opt/checkout"
    for name in (*PACKAGED, "install.sh", "systemd"):
        server.told("mkdir", "-p", checkout)
        server.told("cp", "-R", f"/opt/of-the-checkout/{name}", f"{checkout}/{name}")
    # It brings twistd, as Twisted would if it were installed there.
    twistd = '/^haloyd = /i twistd = "twisted.scripts.twistd:run"'
    server.told("sed", "-i", twistd, f"{checkout}/pyproject.toml")
    server.told("mkdir", f"{checkout}/dist")
    for folder in (checkout, f"{checkout}/dist"):
        server.told("cp", wheel("97.0"), folder)
    # What a wheel is built with comes from the index, which there is none here.
    server.variables["PIP_NO_BUILD_ISOLATION"] = "0"
    server.told("sh", f"{checkout}/install.sh", "--no-start")
    told = server.told("haloyd", "version")
    assert "97.0" not in told
    assert "interpreted proxy" in told
    left = server.told("sh", "-c", "ls /opt/haloy/venv/; ls /opt/checkout")
    assert "wheel" not in left.split()
    assert "build" not in left.split()


def test_one_service(server: Machine) -> None:
    """The drop-in: haloyd binds 80 and 443 itself, with no other privilege."""
    install(server, "--one-process")
    assert all(verified(server).values())
    assert status_of(server, 80) == 404
    assert server.run("systemctl", "cat", "haloy-proxy").returncode == 1
    assert capabilities(server, "haloyd") == LOW_PORTS
    logged_in(server)
    server.told("systemctl", "reload", "haloyd")
    server.told("systemctl", "stop", "haloyd")
    assert server.show("haloyd", "Result") == "success"


def logged_in(server: Machine) -> None:
    """See that commands work where root is then: haloyd's user may not look there."""
    server.told("chmod", "700", "/root")
    for command in ("certs list", "token list", "backup"):
        server.told("sh", "-c", f"cd /root && haloyd {command}")
    (kept,) = server.told("sh", "-c", "ls /root/haloy-*.tar.gz").split()
    assert server.told("stat", "--format=%U %a", kept) == "root 600"


def hung(server: Machine) -> None:
    """See that systemd's watchdog kills a process that hangs and starts it anew.

    Requests are answered while one hangs: by the proxy while haloyd does, by the
    workers while their supervisor does.
    """
    for unit in ("haloyd", "haloy-proxy"):
        folder = f"/run/systemd/system/{unit}.service.d"
        short = f"[Service]\nWatchdogSec={WATCHDOG_S}s\n"
        server.told("mkdir", "-p", folder)
        server.told("sh", "-c", f"printf '{short}' >{folder}/watchdog.conf")
    server.told("systemctl", "daemon-reload")
    server.told("systemctl", "restart", "haloy-proxy", "haloyd")
    for unit in ("haloyd", "haloy-proxy"):
        pid = server.show(unit, "MainPID")
        server.told("kill", "-STOP", pid)
        answers = set()
        deadline = time.monotonic() + 60
        # Nobody but systemd ends a stopped process, and only for its watchdog.
        while server.show(unit, "NRestarts") == "0":
            answers.add(status_of(server, 80))
            assert time.monotonic() < deadline, server.journal(f"--unit={unit}")
        assert answers == {404}
        while server.show(unit, "ActiveState") != "active":
            assert time.monotonic() < deadline, server.journal(f"--unit={unit}")
        assert server.show(unit, "MainPID") != pid
    assert status_of(server, 80) == 404
    for unit in ("haloyd", "haloy-proxy"):
        server.told("rm", "-r", f"/run/systemd/system/{unit}.service.d")
    server.told("systemctl", "daemon-reload")
    server.told("systemctl", "restart", "haloy-proxy", "haloyd")


def crashed(server: Machine) -> None:
    """See that a worker answers what it has begun after its supervisor's crash."""
    restarts = server.show("haloy-proxy", "NRestarts")
    with subprocess.Popen(
        server.command("python3", "-c", BEGUN),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as client:
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        server.told("kill", "-KILL", server.show("haloy-proxy", "MainPID"))
        deadline = time.monotonic() + 60
        while server.show("haloy-proxy", "NRestarts") == restarts:
            assert time.monotonic() < deadline, server.journal("--unit=haloy-proxy")
        assert client.communicate(timeout=60)[0].strip() == "404"
    assert status_of(server, 80) == 404


def workers(server: Machine) -> list[str]:
    """Return the commands of the proxy's workers."""
    pid = server.show("haloy-proxy", "MainPID")
    return server.told("ps", "-o", "args=", "--ppid", pid).splitlines()


def running(server: Machine) -> str:
    """Return the version that answers."""
    script = (
        "import json, urllib.request as u; "
        "print(json.load(u.urlopen('http://127.0.0.1:9922/health'))['version'])"
    )
    return server.told("python3", "-c", script)
