"""A proxy of its own process with one app and a certificate, for scanners.

C{python -m tests.support.tls_site NAME PEM}: prints its port and runs until its input
ends.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

from haloy.certs.pem import parse_pem
from haloy.model.app import Domain, ProxyOptions
from haloy.model.names import AppName, DomainName
from haloy.proxy.embedded import EmbeddedProxy
from haloy.proxy.routes import RoutedApp, build_table
from haloy.proxy.settings import Settings
from tests.proxy.support import answering, backend, upstream_of

HSTS_S = 31536000
#: The fields that scanners want to see besides are the app's affair.
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n"
    b"X-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\r\nhello"
)
START_LIMIT_S = 20.0


@contextmanager
def running_site(name: str, pem: Path) -> Iterator[int]:
    """Run it until the block ends; give its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.tls_site", name, str(pem)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().strip()
            assert port.isdigit(), "the site did not start"
            yield int(port)
        finally:
            process.stdin.close()
            try:
                process.wait(START_LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def main() -> None:
    """Serve until the input ends."""
    from twisted.internet import reactor as installed  # noqa: PLC0415

    reactor: Any = installed
    name, pem = sys.argv[1:3]
    certificate = parse_pem(name, Path(pem).read_bytes())

    class Ending(Protocol):
        """Ends when nobody is there any more."""

        def connectionLost(self, reason: object = None) -> None:
            reactor.stop()

    with backend(answering(ANSWER)) as app:
        proxy = EmbeddedProxy(reactor, Settings(http="", https="127.0.0.1:0"))
        proxy.startService()
        options = ProxyOptions(hsts_max_age_s=HSTS_S)
        domains = (Domain(DomainName(name)),)
        routed = RoutedApp(AppName("app"), domains, (upstream_of(app),), options)
        table, _ = build_table(1, None, [routed])

        async def begin() -> None:
            await proxy.replace_table(table)
            await proxy.replace_certificates((certificate,))
            StandardIO(Ending())

        done = Deferred.fromCoroutine(begin())
        done.addCallback(lambda _: print(proxy.https_port, flush=True))
        reactor.run()


if __name__ == "__main__":
    main()
