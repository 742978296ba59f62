"""pebble, a certificate authority for tests, and challtestsrv, its name server.

In tests: L{running_pebble}. From a script (the quickstart)::

    python -m tests.support.pebble start --dir D --http-port 8080 --tls-port 8443
    python -m tests.support.pebble stop --dir D

C{start} leaves both running and prints (and keeps in C{D/pebble.json}) the state: an
object with C{directory_url}, C{ca_file} (trust for the directory), C{dns} (HOST:PORT
for C{dns.resolvers}: every name is 127.0.0.1), C{challenges_url} (management of
challtestsrv), C{management_url}, C{root_url} (C{https://…/roots/0}, the issuing root,
new at each start), C{root_file} (that root as PEM), C{http_port} and C{tls_port}
(where challenges are validated) and C{pids}. A second C{start} with the same ports
finds the first one running and prints its state again.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.ports import free_ports

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
TRIES = 3
STATE = "pebble.json"
_started: dict[int, subprocess.Popen[bytes]] = {}
DAYS_90_S = 90 * 86400


@frozen
class Pebble:
    """Where everything of a running pebble is."""

    directory_url: str
    ca_file: str
    dns: str
    challenges_url: str
    management_url: str
    root_url: str
    root_file: str
    http_port: int
    tls_port: int
    pids: tuple[int, ...]

    def set_txt(self, name: str, value: str) -> None:
        """Answer TXT questions for C{name} with C{value} too."""
        self.challenge("set-txt", {"host": f"{name}.", "value": value})

    def clear_txt(self, name: str) -> None:
        """Forget the TXT records of C{name}."""
        self.challenge("clear-txt", {"host": f"{name}."})

    def challenge(self, path: str, body: Mapping[str, Any]) -> None:
        """Tell challtestsrv something."""
        data = json.dumps(dict(body)).encode()
        with urllib.request.urlopen(f"{self.challenges_url}/{path}", data, 5) as answer:
            answer.read()

    def get(self, url: str) -> bytes:
        """Return what pebble's management answers at C{url}."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        with urllib.request.urlopen(url, timeout=5, context=trust) as answer:
            found: bytes = answer.read()
            return found

    def root(self) -> bytes:
        """Return the issuing root as PEM."""
        return Path(self.root_file).read_bytes()

    def post(self, url: str, body: Mapping[str, Any]) -> bytes:
        """Return what pebble's management answers to C{body}."""
        trust = ssl.create_default_context(cafile=self.ca_file)
        data = json.dumps(dict(body)).encode()
        with urllib.request.urlopen(url, data, 5, context=trust) as answer:
            found: bytes = answer.read()
            return found

    def kill(self) -> None:
        """End the CA as a crash would; the name server goes on."""
        _end(self.pids[:1], signal.SIGKILL)


@contextlib.contextmanager
def running_pebble(
    folder: Path,
    http_port: int = 0,
    tls_port: int = 0,
    environment: Mapping[str, str] | None = None,
    program: str = "pebble",
    **settings: Any,
) -> Iterator[Pebble]:
    """Run pebble with its files in C{folder} until the block ends.

    @param http_port: where HTTP-01 is validated; 0: a free port.
    @param tls_port: where TLS-ALPN-01 is validated; 0: a free port.
    @param environment: C{PEBBLE_…} variables over the defaults (no sleep before a
        validation, 20 % of nonces rejected, no authorization used again).
    @param program: another build of it.
    @param settings: keys of pebble's configuration, as in
        C{certificateValidityPeriod} (seconds).
    """
    running = start(folder, http_port, tls_port, environment, program, **settings)
    try:
        yield running
    finally:
        stop(running)


def start(
    folder: Path,
    http_port: int = 0,
    tls_port: int = 0,
    environment: Mapping[str, str] | None = None,
    program: str = "pebble",
    **settings: Any,
) -> Pebble:
    """Start pebble and challtestsrv; return when both answer. See L{running_pebble}."""
    folder.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, TRIES + 1):
        processes: list[subprocess.Popen[bytes]] = []
        try:
            ports = (http_port, tls_port)
            return _start(folder, ports, environment, program, settings, processes)
        except RuntimeError:
            # A port was taken between choosing and using it.
            _end([one.pid for one in processes], signal.SIGKILL)
            if attempt == TRIES:
                raise
    raise AssertionError("unreachable")


def stop(running: Pebble) -> None:
    """End what L{start} started."""
    _end(running.pids, signal.SIGTERM)


def _start(
    folder: Path,
    ports: tuple[int, int],
    environment: Mapping[str, str] | None,
    program: str,
    settings: Mapping[str, Any],
    processes: list[subprocess.Popen[bytes]],
) -> Pebble:
    directory, management, dns, challenges, http, tls = free_ports(6)
    state = Pebble(
        directory_url=f"https://127.0.0.1:{directory}/dir",
        ca_file=str(folder / "ca.pem"),
        dns=f"127.0.0.1:{dns}",
        challenges_url=f"http://127.0.0.1:{challenges}",
        management_url=f"https://127.0.0.1:{management}",
        root_url=f"https://127.0.0.1:{management}/roots/0",
        root_file=str(folder / "root.pem"),
        http_port=ports[0] or http,
        tls_port=ports[1] or tls,
        pids=(),
    )
    _write_server_certificate(folder)
    configuration = {
        "listenAddress": f"127.0.0.1:{directory}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(folder / "server.pem"),
        "privateKey": str(folder / "server.key"),
        "httpPort": state.http_port,
        "tlsPort": state.tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": False,
        "certificateValidityPeriod": DAYS_90_S,
        **settings,
    }
    (folder / "config.json").write_text(json.dumps({"pebble": configuration}))
    variables = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": "20",
        "PEBBLE_AUTHZREUSE": "0",
        **(environment or {}),
    }
    authority = ["-strict", "-dnsserver", state.dns]
    authority += ["-config", str(folder / "config.json")]
    processes.append(_run(folder, program, authority, variables))
    names = _challtestsrv(state.dns, f"127.0.0.1:{challenges}")
    processes.append(_run(folder, "pebble-challtestsrv", names, {}))
    _wait(state, processes, folder)
    Path(state.root_file).write_bytes(state.get(state.root_url))
    state = evolve(state, pids=tuple(one.pid for one in processes))
    (folder / STATE).write_text(json.dumps(asdict(state), indent=1))
    return state


def _challtestsrv(dns: str, management: str) -> list[str]:
    unused = ["-http01", "", "-https01", "", "-tlsalpn01", ""]
    addresses = ["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
    return [*unused, _dns_flag(), dns, "-management", management, *addresses]


def _dns_flag() -> str:
    """Return how this build of challtestsrv names its DNS address: it was renamed."""
    said = subprocess.run(
        ["pebble-challtestsrv", "-help"], capture_output=True, text=True, check=False
    )
    return "-dnsserver" if "-dnsserver" in said.stderr else "-dns01"


def _run(
    folder: Path, program: str, arguments: Sequence[str], variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    found = shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program} is not installed (Debian package: pebble)")
    with (folder / f"{Path(program).name}.log").open("ab") as log:
        process = subprocess.Popen(
            [found, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **variables},
            start_new_session=True,  # Ctrl-C in the quickstart is not for it
        )
    _started[process.pid] = process
    return process


def _wait(
    state: Pebble, processes: Sequence[subprocess.Popen[bytes]], folder: Path
) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        for process in processes:
            if process.poll() is not None:
                log = "\n".join(
                    path.read_text(errors="replace")[-2000:]
                    for path in sorted(folder.glob("*.log"))
                )
                raise RuntimeError(f"{process.args!r} ended:\n{log}")
        try:
            state.get(state.directory_url)
            state.challenge("clear-txt", {"host": "started.invalid."})
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("pebble does not answer")


def _end(pids: Sequence[int], first: signal.Signals) -> None:
    """End our processes by number, and wait until they are gone."""
    for pid in pids:
        if _is_ours(pid):
            os.kill(pid, first)
    deadline = time.monotonic() + STOP_LIMIT_S
    while any(_is_ours(pid) for pid in pids):
        if time.monotonic() > deadline:
            for pid in filter(_is_ours, pids):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _is_ours(pid: int) -> bool:
    """Return whether C{pid} is a pebble that runs; collect it when it has ended."""
    if pid in _started and _started[pid].poll() is not None:
        del _started[pid]
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"pebble" in command.split(b"\0", 1)[0]


# --- the certificate of pebble's own server ----------------------------------------


def _write_server_certificate(folder: Path) -> None:
    """Write C{ca.pem}, C{server.pem} and C{server.key}, unless they are there."""
    if all((folder / name).exists() for name in ("ca.pem", "server.pem", "server.key")):
        return
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "haloy test CA")])
    authority = (
        _builder(ca_name, ca_name, ca_key, 3650)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    server = (
        _builder(name, ca_name, key, 3650)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), loopback]),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "server.key").write_bytes(
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    (folder / "server.pem").write_bytes(server.public_bytes(pem))
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


# --- for scripts -------------------------------------------------------------------


def read_state(folder: Path) -> Pebble | None:
    """Return the pebble that was started with C{folder}, if it still runs."""
    try:
        found = json.loads((folder / STATE).read_text())
    except (OSError, ValueError):
        return None
    state = Pebble(**{**found, "pids": tuple(found["pids"])})
    return state if all(_is_ours(pid) for pid in state.pids) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Start or stop pebble for a script."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.pebble")
    parser.add_argument("command", choices=("start", "stop"))
    parser.add_argument("--dir", type=Path, required=True, help="where its files are")
    parser.add_argument("--http-port", type=int, default=0, help="HTTP-01 goes there")
    parser.add_argument("--tls-port", type=int, default=0, help="TLS-ALPN-01 does")
    chosen = parser.parse_args(arguments)
    running = read_state(chosen.dir)
    if chosen.command == "stop":
        if running is not None:
            stop(running)
        (chosen.dir / STATE).unlink(missing_ok=True)
        return 0
    if running is not None:
        # 0 asks for any port, so what runs is as good as another.
        http, tls = (chosen.http_port, chosen.tls_port)
        kept = (http or running.http_port, tls or running.tls_port)
        if kept != (running.http_port, running.tls_port):
            stop(running)
            running = None
    if running is None:
        running = start(chosen.dir, chosen.http_port, chosen.tls_port)
    sys.stdout.write(json.dumps(asdict(running), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
