"""An app to deploy, a server to deploy it to, and clients that count what they lose."""

from __future__ import annotations

import collections
import http.client
import ipaddress
import json
import os
import shutil
import socket
import sqlite3
import ssl
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.dockerd import PrivateDocker
from tests.support.haloyd import TOKEN, RunningDaemon, running_daemon

APP = """FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "/bin"]
COPY slow /www/cgi-bin/slow
COPY run /run.sh
ENV VERSION={version}
CMD ["/bin/sh", "/run.sh"]
"""
#: Serves its version on 8080 and ends at once on SIGTERM.
RUN = """trap 'kill $!; exit 0' TERM
{before}
echo "$VERSION" > /www/version
httpd -f -p {port} -h /www &
wait
"""
SLOW = r"""#!/bin/sh
cat > /dev/null
sleep 2
printf 'Content-Type: text/plain\r\nContent-Length: %d\r\n\r\n' ${#VERSION}
printf '%s' "$VERSION"
"""


def build(
    docker: PrivateDocker,
    folder: Path,
    ref: str,
    version: str,
    before: str = "",
    port: int = 8080,
) -> None:
    """Build C{ref}, which serves C{version}; C{before} runs before it listens."""
    context = folder / ref.replace(":", "-").replace("/", "-")
    context.mkdir(parents=True, exist_ok=True)
    shutil.copy("/bin/busybox", context / "busybox")
    (context / "slow").write_text(SLOW)
    (context / "slow").chmod(0o755)
    (context / "run").write_text(RUN.format(before=before, port=port))
    (context / "Dockerfile").write_text(APP.format(version=version))
    docker.docker("build", "-q", "-t", ref, str(context))


def write_certificate(folder: Path, *names: str) -> None:
    """Write a self-signed certificate for C{names} where haloyd looks for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=90))
        .add_extension(
            x509.SubjectAlternativeName([_general(one) for one in names]), False
        )
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{names[0].replace('*', '_')}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    path.chmod(0o600)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@define(eq=False)
class Server:
    """A haloyd with a Docker of its own."""

    daemon: RunningDaemon
    docker: PrivateDocker

    def try_deploy(self, identifier: str, image: str, **values: Any) -> tuple[int, str]:
        """Ask for a deployment; return status and text of the answer."""
        return self.daemon.api("POST", "/v1/deploy", body(identifier, image, **values))

    def submit(self, identifier: str, image: str, **values: Any) -> None:
        """Ask for a deployment; raise unless it is taken."""
        status, text = self.try_deploy(identifier, image, **values)
        assert status == 202, text

    def deploy(self, identifier: str, image: str, **values: Any) -> dict[str, Any]:
        """Deploy and return the end marker."""
        self.submit(identifier, image, **values)
        return self.end_of(identifier)

    def end_of(self, identifier: str, limit_s: float = 90.0) -> dict[str, Any]:
        """Follow a deployment's log to its end marker."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.daemon.api_port}/v1/deploy/{identifier}/logs",
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=limit_s) as stream:
            for line in stream:
                if line.startswith(b"data: "):
                    entry: dict[str, Any] = json.loads(line[6:])
                    if entry.get("isDeploymentComplete"):
                        return entry
        raise AssertionError(f"no end marker:\n{self.daemon.log_text()}")

    def get(
        self, name: str, path: str = "/version", limit_s: float = 10.0
    ) -> tuple[int, str]:
        """Return status and text of one request over HTTPS, by a new connection."""
        client = Client(name, self.daemon.https_port, limit_s)
        try:
            return client.ask(path)
        finally:
            client.close()

    def until_serves(self, name: str, version: str, limit_s: float = 30.0) -> float:
        """Return after how many seconds C{name} answers with C{version}."""
        began = time.monotonic()
        seen: object = None
        while time.monotonic() - began < limit_s:
            try:
                seen = self.get(name, limit_s=2)
            except OSError as problem:
                seen = problem
            if seen == (200, version):
                return time.monotonic() - began
            time.sleep(0.02)
        raise AssertionError(
            f"{name} does not serve {version}: {seen}\n{self.daemon.log_text()}"
        )

    def containers(self, app: str, running: bool = False) -> list[str]:
        """Return the names of an app's containers."""
        found = self.docker.docker(
            "ps",
            *(() if running else ("-a",)),
            "--filter",
            f"label=dev.haloy.appName={app}",
            "--format",
            "{{.Names}}",
        )
        return sorted(found.split())

    def active(self, app: str) -> str:
        """Return the deployment that should serve."""
        return self._row("SELECT active FROM app WHERE name = ?", app)

    def state(self, app: str, deployment: str) -> str:
        """Return how far a deployment is."""
        asked = "SELECT state FROM deployment WHERE app = ? AND id = ?"
        return self._row(asked, app, deployment)

    def verdicts(self, verdict: str) -> int:
        """Return how often the health monitor has come to a verdict."""
        asked = "SELECT count(*) FROM event WHERE kind = 'health' AND state = ?"
        return int(self._row(asked, verdict))

    def _row(self, asked: str, *values: str) -> str:
        place = f"file:{self.daemon.data}/db/haloy.db?mode=ro"
        with closing(sqlite3.connect(place, uri=True, timeout=10)) as connection:
            row = connection.execute(asked, values).fetchone()
        return "" if row is None else str(row[0])

    def until_containers(
        self, app: str, names: list[str], limit_s: float = 30.0
    ) -> None:
        """Wait until exactly these exist and run."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            if self.containers(app) == self.containers(app, running=True) == names:
                return
            time.sleep(0.1)
        raise AssertionError(
            f"{self.containers(app)}, not {names}:\n{self.daemon.log_text()}"
        )

    def draining(self, app: str) -> dict[str, int]:
        """Return which replicas of an app drain, with how many tunnels."""
        time.sleep(0.3)  # not to be told that there were too many
        status, text = self.daemon.api("GET", f"/v1/status/{app}")
        assert status == 200, text
        return {
            one["name"]: one["drainingTunnels"]
            for one in json.loads(text)["replicas"]
            if one["draining"]
        }


def identifier(number: int) -> str:
    """Return a deployment id that no other test of this server uses."""
    return f"01aaaaaaaaaaaaaaaaaaaa{number:04d}"


def body(identifier: str, image: str, **values: Any) -> dict[str, Any]:
    """Return the body of a deploy request for a local image."""
    repository, _, tag = image.rpartition(":")
    name = values.pop("name", "shop")
    target = {
        "name": name,
        "server": "localhost",
        "image": {
            "repository": repository,
            "tag": tag,
            "pullPolicy": "never",
            "history": {"strategy": "local", "count": 3},
        }
        | values.pop("source", {}),
        "domains": [{"domain": f"{name}.example.test"}],
        "port": "8080",
        "healthCheckPath": "/version",
        "healthCheckTimeout": "15s",
        "replicas": 1,
        "deploymentStrategy": "rolling",
    } | values
    return {
        "deploymentID": identifier,
        "targetConfig": target,
        "rollbackDeployConfig": target,
    }


#: How long clients wait that ask all the time. Where haloyd was killed as it replaced
#: the one replica, requests wait for it: a busy machine takes 8 s to start it.
PATIENCE_S: Final = 40.0


class Client(http.client.HTTPSConnection):
    """One client; goes to loopback whatever the name is."""

    def __init__(self, name: str, port: int, limit_s: float = 10.0) -> None:
        # Not the default one, which reads every authority of the machine: 20 ms.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        super().__init__(name, port, timeout=limit_s, context=context)
        self._trust = context

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)

    def ask(
        self, path: str, method: str = "GET", sent: bytes | None = None
    ) -> tuple[int, str]:
        self.request(method, path, body=sent)
        answer = self.getresponse()
        return answer.status, answer.read().decode().strip()


@define(eq=False)
class Load:
    """Clients that ask all the time: new and kept connections, GET, POST, slow."""

    name: str
    port: int
    answers: collections.Counter[str] = field(factory=collections.Counter)
    failures: list[str] = field(factory=list)
    _stop: threading.Event = field(factory=threading.Event)
    _threads: list[threading.Thread] = field(factory=list)

    def start(self) -> None:
        kinds = [("GET", "/version")] * 5 + [("POST", "/cgi-bin/slow")] * 2
        kinds += [("GET", "/cgi-bin/slow")]
        for number, (method, path) in enumerate(kinds):
            thread = threading.Thread(
                target=self._client, args=(number % 2 == 0, method, path)
            )
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _client(self, kept: bool, method: str, path: str) -> None:
        client: Client | None = None
        sent = b"x" * 1024 if method == "POST" else None
        while not self._stop.is_set():
            try:
                if client is None:
                    client = Client(self.name, self.port, PATIENCE_S)
                status, text = client.ask(path, method, sent)
                if status == 200:
                    self.answers[text] += 1
                else:
                    self.failures.append(f"{method} {path}: {status} {text[:80]}")
                if not kept:
                    client.close()
                    client = None
            except (OSError, http.client.HTTPException) as problem:
                self.failures.append(f"{method} {path}: {problem!r}")
                client = None
            self._stop.wait(0.08)
        if client is not None:
            client.close()


@contextmanager
def load(server: Server, name: str) -> Iterator[Load]:
    """Ask C{name} all the time; the block's end stops it."""
    made = Load(name, server.daemon.https_port)
    made.start()
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def server(
    folder: Path, docker: PrivateDocker, host: str = "", **settings: Any
) -> Iterator[Server]:
    """Run haloyd in C{folder} on C{docker}.

    @param host: by which way haloyd reaches it, C{""}: straight.
    """
    write_certificate(folder / "data" / "certs", "*.example.test")
    environment = {"DOCKER_HOST": host or docker.host}
    with running_daemon(folder, environment, **settings) as daemon:
        yield Server(daemon, docker)
