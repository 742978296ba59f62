"""Ask a site for its page again and again while a command runs; count the failures.

    load.py --name hello.localhost --port 8443 --ca root.pem -- haloy deploy

Only the standard library, and connections to 127.0.0.1: the name is sent as SNI and
Host, and the certificate is verified against C{--ca} and that name. Half of the
clients keep their connection, half make a new one each time. A request fails unless
the answer is 200 and complete. Exit code: the command's, or 1 when one failed.
"""

from __future__ import annotations

import argparse
import collections
import http.client
import socket
import ssl
import subprocess
import sys
import threading
import time

CLIENTS = 8
PAUSE_S = 0.1  # 8 clients: up to 80 requests a second
LIMIT_S = 10.0


class _Connection(http.client.HTTPSConnection):
    """Goes to loopback whatever the name is."""

    def connect(self) -> None:
        plain = socket.create_connection(("127.0.0.1", self.port), LIMIT_S)
        context: ssl.SSLContext = self._context  # type: ignore[attr-defined]  # its own
        self.sock = context.wrap_socket(plain, server_hostname=self.host)


class _Load:
    """What the clients share."""

    def __init__(self, name: str, port: int, path: str, ca: str) -> None:
        self._name, self._port, self._path = name, port, path
        self._context = ssl.create_default_context(cafile=ca)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.answers: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self.slowest_s = 0.0
        #: When an answer was seen first, in seconds after the start.
        self.first_seen_s: dict[str, float] = {}
        self._began = time.monotonic()
        self._clients = [
            threading.Thread(target=self._client, args=(number % 2 == 0,))
            for number in range(CLIENTS)
        ]

    def start(self) -> None:
        for client in self._clients:
            client.start()

    def stop(self) -> None:
        self._ended.set()
        for client in self._clients:
            client.join()

    def _client(self, keeps: bool) -> None:
        connection = self._new()
        while not self._ended.wait(PAUSE_S):
            began = time.monotonic()
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                body = answer.read()
                problem = "" if answer.status == 200 else f"status {answer.status}"
            except (OSError, http.client.HTTPException) as broken:
                body, problem = b"", f"{type(broken).__name__}: {broken}"
            took_s = time.monotonic() - began
            with self._lock:
                self.slowest_s = max(self.slowest_s, took_s)
                if problem:
                    self.failures.append(problem)
                else:
                    text = body.decode(errors="replace").strip()
                    self.answers[text] += 1
                    self.first_seen_s.setdefault(text, time.monotonic() - self._began)
            if problem or not keeps:
                connection.close()
                connection = self._new()
        connection.close()

    def _new(self) -> _Connection:
        return _Connection(
            self._name, self._port, timeout=LIMIT_S, context=self._context
        )


def main() -> int:
    """Run the command under load and tell what the clients saw."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--name", required=True)
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--path", default="/")
    options.add_argument("--ca", required=True)
    options.add_argument("command", nargs="+")
    chosen = options.parse_args()

    load = _Load(chosen.name, chosen.port, chosen.path, chosen.ca)
    load.start()
    try:
        code = subprocess.run(chosen.command, check=False).returncode
        time.sleep(1)  # noqa: TID251  (no reactor here; what comes after counts too)
    finally:
        load.stop()
    total = sum(load.answers.values()) + len(load.failures)
    sys.stdout.write(
        f"{total} requests meanwhile, {len(load.failures)} failed; "
        f"the slowest took {load.slowest_s * 1000:.0f} ms\n"
    )
    for text, first_s in sorted(load.first_seen_s.items(), key=lambda one: one[1]):
        sys.stdout.write(
            f"  {load.answers[text]} answers were {text!r}, "
            f"the first {first_s:.1f} s after the start\n"
        )
    for reason, count in collections.Counter(load.failures).most_common(5):
        sys.stdout.write(f"  {count} x {reason}\n")
    return code or bool(load.failures)


if __name__ == "__main__":
    sys.exit(main())
